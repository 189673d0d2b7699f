import type { Bus } from "../bus/bus.ts";
import { channels } from "../bus/channels.ts";

/*
 * Whether changes in the database reach this process. The relay sends a pulse every second, after its own notification
 * has come back to it: so a pulse has passed the database, the relay and the bus.
 *
 *   level ── no pulse for a while ──▶ behind ── a pulse ──▶ level
 */

/** Three pulses that did not come. */
const SILENCE_MS = 3500;
const LOOK_MS = 500;

export interface PulseParts {
  bus: Bus;
  /** From now on changes may be missed. */
  onBehind: () => void;
  /** Changes arrive again, but some may have been missed. */
  onLevel: () => void;
}

export class Pulse {
  #lastAt = performance.now();
  #isBehind = false;
  readonly #leaveBus: () => void;
  readonly #timer: NodeJS.Timeout;

  constructor({ bus, onBehind, onLevel }: PulseParts) {
    this.#leaveBus = bus.listen((message) => {
      if (message.type !== "pulse") return;
      this.#lastAt = performance.now();
      if (!this.#isBehind) return;
      this.#isBehind = false;
      onLevel();
    });
    void bus.subscribe(channels.pulse); // never rejects
    this.#timer = setInterval(() => {
      if (this.#isBehind || performance.now() - this.#lastAt < SILENCE_MS) return;
      this.#isBehind = true;
      onBehind();
    }, LOOK_MS).unref();
  }

  get isBehind(): boolean {
    return this.#isBehind;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#leaveBus();
  }
}
