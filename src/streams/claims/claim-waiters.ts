import { AppError } from "../../errors.ts";
import { ANSWER_MS, DatabaseLate } from "../answer-deadline.ts";
import type { Claim, ClaimResult } from "./claim.ts";

/** Past this number, further claims are refused. */
const MAX_WAITING = 50_000;
const DEADLINE_CHECK_MS = 100;

/** A claim whose stream is found by the key. */
export type KeyClaim = Omit<Claim, "sessionId" | "streamId" | "keyHash" | "signal">;

/** A caller that waits for the answer to its claim. */
export interface Waiter {
  /** The key's hash in hex. */
  hash: string;
  claim: KeyClaim;
  /** By `performance.now()`. */
  dueAt: number;
  /** The key was the stream's at the look-up but not under the lock; looked up again once. */
  hasMoved: boolean;
  isSettled: boolean;
  /** Its place among the waiters. */
  index: number;
  /** Set while the claim is to be written: aborts the write when time is up. */
  cancel: AbortController | null;
  resolve(result: ClaimResult): void;
  reject(error: unknown): void;
}

/**
 * Everybody who waits, each until its deadline. One interval watches all deadlines; a timer for each would cost more
 * than the claim.
 *
 * An array, and not a Set: V8 links every table that a Set has outgrown to its next one, and the old tables keep their
 * entries. With thousands of entries a second, each garbage collection of young objects then finds settled waiters
 * alive, and copies a quarter of all that was allocated.
 */
export class ClaimWaiters {
  /** In no order. */
  readonly #waiting: Waiter[] = [];
  #deadlines: NodeJS.Timeout | null = null;

  /** `start` gets the new waiter. Resolves with its answer. @throws DatabaseLate when time is up; AppError `overloaded`; the error of `fail` */
  wait(hash: string, claim: KeyClaim, start: (waiter: Waiter) => void): Promise<ClaimResult> {
    return new Promise((resolve, reject) => {
      const index = this.#waiting.length;
      if (index >= MAX_WAITING) {
        reject(new AppError("overloaded", "More keys wait for a check than the server holds.", { retryAfterMs: 1000 }));
        return;
      }
      const dueAt = performance.now() + ANSWER_MS - DEADLINE_CHECK_MS;
      const waiter = { hash, claim, dueAt, hasMoved: false, isSettled: false, index, cancel: null, resolve, reject };
      this.#waiting.push(waiter);
      this.#deadlines ??= setInterval(() => this.#expire(), DEADLINE_CHECK_MS).unref();
      start(waiter);
    });
  }

  /** Does nothing where the waiter has its answer. */
  answer(waiter: Waiter, result: ClaimResult): void {
    if (this.#settle(waiter)) waiter.resolve(result);
  }

  /** Does nothing where the waiter has its answer. */
  fail(waiter: Waiter, error: unknown): void {
    if (this.#settle(waiter)) waiter.reject(error);
  }

  #settle(waiter: Waiter): boolean {
    if (waiter.isSettled) return false;
    waiter.isSettled = true;
    const last = this.#waiting.pop() as Waiter;
    if (last !== waiter) {
      this.#waiting[waiter.index] = last;
      last.index = waiter.index;
    }
    return true;
  }

  #expire(): void {
    const now = performance.now();
    for (const waiter of this.#waiting.filter(({ dueAt }) => dueAt <= now)) {
      const late = new DatabaseLate();
      waiter.cancel?.abort(late);
      this.fail(waiter, late);
    }
    if (this.#waiting.length > 0 || this.#deadlines === null) return;
    clearInterval(this.#deadlines);
    this.#deadlines = null;
  }
}
