import { BurstyRateLimiter, RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { AppError } from "../errors.ts";

/** Counts a call under a key. @throws AppError `rate_limited` */
export type RateLimit = (key: string) => Promise<void>;

/** `perSecond` calls a second, and `burst` on top, which come back at the same pace. Counted in this process. */
export function createRateLimit({ burst, perSecond }: { burst: number; perSecond: number }): RateLimit {
  const limiter = new BurstyRateLimiter(
    new RateLimiterMemory({ points: perSecond, duration: 1 }),
    new RateLimiterMemory({ points: burst, duration: Math.max(1, Math.ceil(burst / perSecond)) }),
  );
  return async (key) => {
    try {
      await limiter.consume(key);
    } catch (refused) {
      if (!(refused instanceof RateLimiterRes)) throw refused;
      const retryAfterMs = Math.max(1, refused.msBeforeNext);
      throw new AppError("rate_limited", `Too many calls; ${perSecond} a second may go on.`, { retryAfterMs });
    }
  };
}
