import { createGuard, type Guard } from "../guard.ts";
import type { Logger } from "../logger.ts";

/*
 * Runs work when it is due by another clock, the database's. The timer asks how long it is until then, sleeps, runs the
 * work, and asks again. A caller who knows that the answer has changed arms the timer anew.
 */

const RETRY_MS = 1000;
/** The pause where work is due again although it has just run. */
const STILL_DUE_MS = 50;
/** The longest delay that setTimeout takes. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export interface DueTimerParts {
  /** What the timer watches, for the log: "the next expiry of a key". */
  what: string;
  /** In how many milliseconds work is due; null where none is. */
  findNextDueMs: () => Promise<number | null>;
  run: () => Promise<void>;
  /** Called when the question or the work failed; both are tried again after a second. */
  onFailure?: () => void;
  /** The timer asks again after this time, whatever the last answer was. */
  lookAgainMs?: number;
  logger: Logger;
}

export class DueTimer {
  readonly #parts: DueTimerParts;
  readonly #guard: Guard;
  #timer: NodeJS.Timeout | null = null;
  #isBusy = false;
  #isFailing = false;
  /** When the timer wakes, by `performance.now()`. */
  #wakesAt = Number.POSITIVE_INFINITY;
  /** When the timer has to wake, as told by `arm` while it was busy. */
  #armedFor = Number.POSITIVE_INFINITY;
  #isStopped = false;

  constructor(parts: DueTimerParts) {
    this.#parts = parts;
    this.#guard = createGuard(parts.logger);
  }

  /** Work may be due in `dueInMs`. Costs nothing where the timer wakes before that anyway. */
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
    this.#timer = setTimeout(
      () => this.#guard(this.#parts.what, () => this.#wake()),
      Math.min(ms, MAX_DELAY_MS),
    ).unref();
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
        // Another process is doing the work, or it cannot be done now.
        if (dueMs !== null) dueMs = Math.max(dueMs, STILL_DUE_MS);
      }
      // Rounded up, so that the timer does not wake a moment too early for nothing.
      if (dueMs !== null) delayMs = Math.min(delayMs, Math.max(1, Math.ceil(dueMs)));
    } catch (error) {
      if (this.#isStopped) return;
      hasFailed = true;
      // One line a state: it is tried every second.
      const level = this.#isFailing ? "debug" : "warn";
      this.#parts.logger[level]({ err: error }, `${this.#parts.what} could not be read; tried again in a second`);
      this.#parts.onFailure?.();
      delayMs = RETRY_MS;
    }
    this.#isFailing = hasFailed;
    this.#isBusy = false;
    if (this.#isStopped) return;
    // After a failure the timer keeps its pause, or it would ask a database that is away without end.
    const armedInMs = hasFailed ? delayMs : Math.max(0, this.#armedFor - performance.now());
    this.#armedFor = Number.POSITIVE_INFINITY;
    this.#sleep(Math.min(delayMs, armedInMs));
  }
}
