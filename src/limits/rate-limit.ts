import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { AppError } from "../errors.ts";

/** Counts a call under a key. @throws AppError `rate_limited` */
export type RateLimit = (key: string) => Promise<void>;

/** Takes `burst` calls a key in the time that `perSecond` needs for as many. Counted in this process alone. */
export function createRateLimit({ burst, perSecond }: { burst: number; perSecond: number }): RateLimit {
  const duration = Math.max(1, Math.ceil(burst / perSecond));
  const limiter = new RateLimiterMemory({ points: burst, duration });
  return async (key) => {
    try {
      await limiter.consume(key);
    } catch (refused) {
      if (!(refused instanceof RateLimiterRes)) throw refused;
      throw new AppError("rate_limited", `${burst} calls may come in ${duration} s; wait before the next.`, {
        retryAfterMs: Math.max(1, refused.msBeforeNext),
      });
    }
  };
}
