const SWEEP_MS = 60_000;

/**
 * Token buckets, one a key: each holds `burst` tokens and gains `perSecond`. A bucket is kept as one number, the time
 * when it is full again.
 */
export class Allowances {
  readonly #intervalMs: number;
  readonly #burstMs: number;
  readonly #fullAt = new Map<string, number>();
  #nextSweepAt = performance.now() + SWEEP_MS;

  constructor({ burst, perSecond }: { burst: number; perSecond: number }) {
    this.#intervalMs = 1000 / perSecond;
    this.#burstMs = burst * this.#intervalMs;
  }

  /**
   * Takes `cost` tokens, at most a burst, and returns 0. Where the bucket has fewer it takes none, and returns in how many
   * ms it has them, at least 1.
   */
  take(key: string, cost = 1): number {
    const now = performance.now();
    if (now >= this.#nextSweepAt) this.#sweep(now);
    const fullAt = this.#fullAtAfter(key, cost, now);
    const waitMs = this.#waitMs(fullAt, now);
    if (waitMs === 0) this.#fullAt.set(key, fullAt);
    return waitMs;
  }

  /** In how many ms there is a token; 0 if there is one. Takes none. */
  waitMs(key: string): number {
    const now = performance.now();
    return this.#waitMs(this.#fullAtAfter(key, 1, now), now);
  }

  #fullAtAfter(key: string, cost: number, now: number): number {
    return Math.max(now, this.#fullAt.get(key) ?? now) + Math.min(this.#burstMs, cost * this.#intervalMs);
  }

  #waitMs(fullAt: number, now: number): number {
    // Half an interval of slack, because the fractions of a burst do not sum up to exactly the burst.
    const waitMs = fullAt - now - this.#burstMs - this.#intervalMs / 2;
    return waitMs > 0 ? Math.max(1, Math.ceil(waitMs)) : 0;
  }

  /** Forgets full buckets: a key without a bucket has a full one. */
  #sweep(now: number): void {
    this.#nextSweepAt = now + SWEEP_MS;
    for (const [key, fullAt] of this.#fullAt) if (fullAt <= now) this.#fullAt.delete(key);
  }
}
