import { createRateLimit } from "../auth/rate-limit.ts";

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
  const limitUser = createRateLimit({ burst, perSecond });
  const limitRefusals = createRateLimit({ burst: burst * IGNORED_BURSTS, perSecond: perSecond * IGNORED_BURSTS });
  return {
    async take(userId, connection) {
      try {
        await limitUser(userId);
      } catch (refusal) {
        await limitRefusals(connection.id).catch(() => connection.disconnect(true));
        throw refusal;
      }
    },
  };
}
