import { AppError, ERRORS, type ErrorCode } from "../errors.ts";
import type { Logger } from "../logger.ts";

/*
 * Logs calls that were refused. `unavailable` and `overloaded` are states of the server, which every call meets while they
 * last: one line says so, and the metrics count the calls. Every other failure is logged by itself.
 */

const STATES: ReadonlySet<ErrorCode> = new Set(["unavailable", "overloaded"]);
/** A state that lasts is logged again after this time; one that nobody met for so long is over. */
const AGAIN_MS = 60_000;

export class RefusalLog {
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #loggedAt = new Map<ErrorCode, number>();

  constructor(logger: Logger, now: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#now = now;
  }

  write(error: unknown, message: string, fields: object = {}): void {
    const code = error instanceof AppError ? error.code : "internal";
    this.#logger[this.#levelOf(code)]({ err: error, ...fields }, message);
  }

  #levelOf(code: ErrorCode): "debug" | "warn" | "error" {
    if (!STATES.has(code)) return ERRORS[code].level;
    const now = this.#now();
    const loggedAt = this.#loggedAt.get(code);
    if (loggedAt !== undefined && now - loggedAt < AGAIN_MS) return "debug";
    this.#loggedAt.set(code, now);
    return ERRORS[code].level;
  }
}
