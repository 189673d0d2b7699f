import { AppError } from "../errors.ts";
import { Allowances } from "./allowances.ts";

/*
 * How often a user may call, over all its connections; and how often a connection may call again although it was told to
 * wait. Every heartbeat is counted here, so a user costs one number, no promise and no timer.
 */

export interface CallLimitOptions {
  /** How many calls may come at once. */
  burst: number;
  /** How many calls a second may go on coming. */
  perSecond: number;
}

/** The part of a socket that the limits use. */
export interface LimitedConnection {
  readonly id: string;
  disconnect(close: boolean): unknown;
}

export interface CallLimits {
  /**
   * Counts a call, as `cost` calls where it does the work of so many; no call costs more than a burst.
   * @throws AppError `rate_limited`, with the time to wait
   */
  take(userId: string, connection: LimitedConnection, cost?: number): void;
}

/** A connection is ended when it has ignored this many bursts of refusals. */
const IGNORED_BURSTS = 10;

/** Limits the calls of sockets. */
export function createCallLimits({ burst, perSecond }: CallLimitOptions): CallLimits {
  const calls = new Allowances({ burst, perSecond });
  const refusals = new Allowances({ burst: burst * IGNORED_BURSTS, perSecond: perSecond * IGNORED_BURSTS });
  return {
    take(userId, connection, cost = 1) {
      const waitMs = calls.take(userId, cost);
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
