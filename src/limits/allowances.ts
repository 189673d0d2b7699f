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

  /** Takes a token and returns 0. Without a token it takes none, and returns in how many ms there is one, at least 1. */
  take(key: string): number {
    const now = performance.now();
    if (now >= this.#nextSweepAt) this.#sweep(now);
    const fullAt = Math.max(now, this.#fullAt.get(key) ?? now) + this.#intervalMs;
    // Half an interval of slack, because the fractions of a burst do not sum up to exactly the burst.
    const waitMs = fullAt - now - this.#burstMs - this.#intervalMs / 2;
    if (waitMs > 0) return Math.max(1, Math.ceil(waitMs));
    this.#fullAt.set(key, fullAt);
    return 0;
  }

  /** Forgets full buckets: a key without a bucket has a full one. */
  #sweep(now: number): void {
    this.#nextSweepAt = now + SWEEP_MS;
    for (const [key, fullAt] of this.#fullAt) if (fullAt <= now) this.#fullAt.delete(key);
  }
}
