const SWEEP_MS = 60_000;

/** A bucket of `burst` a key that fills by `perSecond`, kept as the time when it is full again. */
export class Allowances {
  readonly #intervalMs: number;
  readonly #burstMs: number;
  readonly #fullAt = new Map<string, number>();
  #nextSweepAt = performance.now() + SWEEP_MS;

  constructor({ burst, perSecond }: { burst: number; perSecond: number }) {
    this.#intervalMs = 1000 / perSecond;
    this.#burstMs = burst * this.#intervalMs;
  }

  /** Takes one; or says in how many ms there is one, 1 at the least, and takes none. */
  take(key: string): number {
    const now = performance.now();
    if (now >= this.#nextSweepAt) this.#sweep(now);
    const fullAt = Math.max(now, this.#fullAt.get(key) ?? now) + this.#intervalMs;
    // Half a call's time of slack: the sum of a burst's fractions is not exactly the burst.
    const waitMs = fullAt - now - this.#burstMs - this.#intervalMs / 2;
    if (waitMs > 0) return Math.max(1, Math.ceil(waitMs));
    this.#fullAt.set(key, fullAt);
    return 0;
  }

  /** A full bucket is no different from none. */
  #sweep(now: number): void {
    this.#nextSweepAt = now + SWEEP_MS;
    for (const [key, fullAt] of this.#fullAt) if (fullAt <= now) this.#fullAt.delete(key);
  }
}
