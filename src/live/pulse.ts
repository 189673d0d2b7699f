import { type Bus, channels } from "./bus.ts";

/*
 * Whether what changes in the database reaches this process. The relay says once a second that it lives, after its
 * own notification has come back to it: a pulse has been through the database, the relay and the bus.
 *
 *   level ── no pulse for a while ──▶ behind ── a pulse ──▶ level
 */

/** Three pulses that did not come. */
const SILENCE_MS = 3500;
const LOOK_MS = 500;

export interface PulseParts {
  bus: Bus;
  /** What is shown may be old from now on. */
  onBehind: () => void;
  /** Changes come again, but some may have been missed. */
  onLevel: () => void;
}

export class Pulse {
  #lastAt = performance.now();
  #isBehind = false;
  readonly #leave: () => void;
  readonly #timer: NodeJS.Timeout;

  constructor({ bus, onBehind, onLevel }: PulseParts) {
    this.#leave = bus.subscribe(channels.pulse, () => {
      this.#lastAt = performance.now();
      if (!this.#isBehind) return;
      this.#isBehind = false;
      onLevel();
    }).leave;
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
    this.#leave();
  }
}
