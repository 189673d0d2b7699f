/*
 * Converts this process's monotonic clock to the database's clock, by which positions are ordered and resets are timed.
 * Each sample of the database's time gives an offset that is too large by the time the statement needed to arrive. The
 * smallest offset of the last seconds is the best one. The error that is left makes a beat look later, never earlier, so
 * a beat after a reset is never taken for one before it.
 */

/** A sample counts for one to two times this long, because the clocks drift apart and may be set. */
const BUCKET_MS = 5000;
/** A sample older than this is too old: a new one must be taken before the clock is used. */
const FRESH_MS = 30_000;

export class DatabaseClock {
  #bucketAt = Number.NEGATIVE_INFINITY;
  #sampledAt = Number.NEGATIVE_INFINITY;
  #offsetMs = Number.POSITIVE_INFINITY;
  #earlierOffsetMs = Number.POSITIVE_INFINITY;

  /** Whether there is a sample that is not too old. */
  isSet(now: number): boolean {
    return now - this.#sampledAt < FRESH_MS;
  }

  /** Takes the database's time, in seconds since 1970, from the answer of a statement that was sent at `sentAt`. */
  sample(sentAt: number, databaseSeconds: number): void {
    if (sentAt - this.#bucketAt > BUCKET_MS) {
      this.#earlierOffsetMs = sentAt - this.#bucketAt > 2 * BUCKET_MS ? Number.POSITIVE_INFINITY : this.#offsetMs;
      this.#offsetMs = Number.POSITIVE_INFINITY;
      this.#bucketAt = sentAt;
    }
    this.#offsetMs = Math.min(this.#offsetMs, databaseSeconds * 1000 - sentAt);
    this.#sampledAt = sentAt;
  }

  /** Converts a time of the monotonic clock to microseconds since 1970 by the database's clock. */
  toUs(monotonicMs: number): number {
    return Math.round((monotonicMs + Math.min(this.#offsetMs, this.#earlierOffsetMs)) * 1000);
  }
}
