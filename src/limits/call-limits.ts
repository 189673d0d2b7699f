import { AppError } from "../errors.ts";
import { Allowances } from "./allowances.ts";

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
