/*
 * The database's clock, by which positions are ordered and resets are timed, as this process's monotonic clock tells it.
 * Every answer that brings the database's time says by how much they differ at the most: by the time that the statement
 * needed to get there too much. Of the samples of the last seconds the smallest is nearest to the truth. What is left of
 * the error makes beats look later, never earlier: one that follows a reset is never taken for one before it.
 */

/** A sample counts for this long, and for as long again. The clocks may be set, and drift apart. */
const BUCKET_MS = 5000;
/** Without a sample for so long, one is taken before the clock is asked. */
const FRESH_MS = 30_000;

export class DatabaseClock {
  #bucketAt = Number.NEGATIVE_INFINITY;
  #sampledAt = Number.NEGATIVE_INFINITY;
  #offsetMs = Number.POSITIVE_INFINITY;
  #earlierOffsetMs = Number.POSITIVE_INFINITY;

  /** Whether a sample is at hand that is not too old. */
  isSet(now: number): boolean {
    return now - this.#sampledAt < FRESH_MS;
  }

  /** `databaseSeconds` was read by a statement that was sent at `sentAt`. */
  sample(sentAt: number, databaseSeconds: number): void {
    if (sentAt - this.#bucketAt > BUCKET_MS) {
      this.#earlierOffsetMs = sentAt - this.#bucketAt > 2 * BUCKET_MS ? Number.POSITIVE_INFINITY : this.#offsetMs;
      this.#offsetMs = Number.POSITIVE_INFINITY;
      this.#bucketAt = sentAt;
    }
    this.#offsetMs = Math.min(this.#offsetMs, databaseSeconds * 1000 - sentAt);
    this.#sampledAt = sentAt;
  }

  /** Microseconds since 1970 by the database's clock, of a time by the monotonic one. */
  toUs(monotonicMs: number): number {
    return Math.round((monotonicMs + Math.min(this.#offsetMs, this.#earlierOffsetMs)) * 1000);
  }
}
