import { AppError } from "../errors.ts";

/*
 * How often a user may call, over all its connections, and how long a connection may go on when it was told to wait.
 * Every heartbeat passes here: a number a user, no promise and no timer.
 */

export interface CallLimitOptions {
  /** Calls at once. */
  burst: number;
  /** Calls a second, for good. */
  perSecond: number;
}

/** What a connection offers the limits. */
export interface LimitedConnection {
  readonly id: string;
  disconnect(close: boolean): unknown;
}

export interface CallLimits {
  /** @throws AppError `rate_limited` */
  take(userId: string, connection: LimitedConnection): void;
}

/** A connection that is refused so many bursts in a row does not listen; it is ended. */
const IGNORED_BURSTS = 10;
const SWEEP_MS = 60_000;

export function createCallLimits({ burst, perSecond }: CallLimitOptions): CallLimits {
  const calls = new Allowances({ burst, perSecond });
  const refusals = new Allowances({ burst: burst * IGNORED_BURSTS, perSecond: perSecond * IGNORED_BURSTS });
  return {
    take(userId, connection) {
      const waitMs = calls.take(userId);
      if (waitMs === 0) return;
      if (refusals.take(connection.id) > 0) connection.disconnect(true);
      throw new AppError(
        "rate_limited",
        `${burst} calls may come at once, and ${perSecond} a second for good; wait before the next.`,
        { retryAfterMs: waitMs },
      );
    },
  };
}

/** A bucket of `burst` a key that fills by `perSecond`, kept as the time when it is full again. */
class Allowances {
  readonly #intervalMs: number;
  readonly #burstMs: number;
  readonly #fullAt = new Map<string, number>();
  #nextSweepAt = performance.now() + SWEEP_MS;

  constructor({ burst, perSecond }: CallLimitOptions) {
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
