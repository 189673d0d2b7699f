import { AppError } from "../errors.ts";
import { CountWindows } from "./count-windows.ts";

/** Counts a call under a key, as `cost` calls where it does the work of so many. @throws AppError `rate_limited` */
export type RateLimit = (key: string, cost?: number) => Promise<void>;

/** Takes `burst` calls a key in the time that `perSecond` needs for as many. Counted in this process alone. */
export function createRateLimit({ burst, perSecond }: { burst: number; perSecond: number }): RateLimit {
  const seconds = Math.max(1, Math.ceil(burst / perSecond));
  const windows = new CountWindows({ most: burst, windowMs: seconds * 1000 });
  return async (key, cost = 1) => {
    const retryAfterMs = windows.count(key, Math.min(cost, burst));
    if (retryAfterMs === 0) return;
    throw new AppError("rate_limited", `${burst} calls may come in ${seconds} s; wait before the next.`, {
      retryAfterMs,
    });
  };
}
