import type { Logger } from "../logger.ts";

/*
 * Does something when it is due, by a clock that is elsewhere: asks how long it is until then, sleeps, does it, and
 * asks again. Whoever knows that the answer has changed arms it anew.
 */

const RETRY_MS = 1000;
/** What is due although it was just done waits at least so long. */
const STILL_DUE_MS = 50;
/** setTimeout takes no more. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export interface DueTimerParts {
  /** For the log. */
  what: string;
  /** In how many milliseconds something is due; null where nothing is. */
  findNextDueMs: () => Promise<number | null>;
  run: () => Promise<void>;
  /** Told when either failed; it is tried again after a second. */
  onFailure?: () => void;
  /** Looks again after so long, whatever it was told. */
  lookAgainMs?: number;
  logger: Logger;
}

export class DueTimer {
  readonly #parts: DueTimerParts;
  #timer: NodeJS.Timeout | null = null;
  #isBusy = false;
  /** When the timer wakes, by `performance.now()`. */
  #wakesAt = Number.POSITIVE_INFINITY;
  /** What it was armed for while it was busy. */
  #armedFor = Number.POSITIVE_INFINITY;
  #isStopped = false;

  constructor(parts: DueTimerParts) {
    this.#parts = parts;
  }

  /** What is due next may have changed, and may be due in so long. Costs nothing where it wakes before that anyway. */
  arm(dueInMs = 0): void {
    if (this.#isStopped) return;
    const wakesAt = performance.now() + dueInMs;
    if (this.#isBusy) this.#armedFor = Math.min(this.#armedFor, wakesAt);
    else if (wakesAt < this.#wakesAt) this.#sleep(dueInMs);
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #sleep(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#wakesAt = performance.now() + ms;
    this.#timer = setTimeout(() => void this.#wake(), Math.min(ms, MAX_DELAY_MS)).unref(); // never rejects
  }

  async #wake(): Promise<void> {
    this.#isBusy = true;
    let delayMs = this.#parts.lookAgainMs ?? MAX_DELAY_MS;
    let hasFailed = false;
    try {
      let dueMs = await this.#parts.findNextDueMs();
      if (dueMs !== null && dueMs <= 0) {
        await this.#parts.run();
        dueMs = await this.#parts.findNextDueMs();
        // Somebody else is at it, or it cannot be done now.
        if (dueMs !== null) dueMs = Math.max(dueMs, STILL_DUE_MS);
      }
      // Rounded up: to wake early would be to wake for nothing.
      if (dueMs !== null) delayMs = Math.min(delayMs, Math.max(1, Math.ceil(dueMs)));
    } catch (error) {
      if (this.#isStopped) return;
      hasFailed = true;
      this.#parts.logger.warn({ err: error }, `${this.#parts.what} could not be looked at; again in a second`);
      this.#parts.onFailure?.();
      delayMs = RETRY_MS;
    }
    this.#isBusy = false;
    if (this.#isStopped) return;
    // Where it failed, to look again at once would be to ask a database that is away without a pause.
    const armedInMs = hasFailed ? delayMs : Math.max(0, this.#armedFor - performance.now());
    this.#armedFor = Number.POSITIVE_INFINITY;
    this.#sleep(Math.min(delayMs, armedInMs));
  }
}
