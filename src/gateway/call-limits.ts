import { RateLimiterMemory, type RateLimiterRes } from "rate-limiter-flexible";
import { AppError } from "../errors.ts";

/*
 * How often a user may call, over all its connections, and how long a connection may go on when it was told to wait.
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
  take(userId: string, connection: LimitedConnection): Promise<void>;
}

/** A connection that is refused so many bursts in a row does not listen; it is ended. */
const IGNORED_BURSTS = 10;

export function createCallLimits({ burst, perSecond }: CallLimitOptions): CallLimits {
  const duration = Math.ceil(burst / perSecond);
  const users = new RateLimiterMemory({ points: burst, duration, keyPrefix: "user" });
  const refusals = new RateLimiterMemory({ points: burst * IGNORED_BURSTS, duration, keyPrefix: "refused" });
  return {
    async take(userId, connection) {
      try {
        await users.consume(userId);
      } catch (rejection) {
        if (rejection instanceof Error) throw rejection;
        const retryAfterMs = (rejection as RateLimiterRes).msBeforeNext;
        await refusals.consume(connection.id).catch(() => connection.disconnect(true));
        throw new AppError("rate_limited", `A user may make ${burst} calls in ${duration} s; wait before the next.`, {
          retryAfterMs,
        });
      }
    },
  };
}
