import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { AppError } from "../errors.ts";

/*
 * Failed logins are limited in three ways: per account and address together, so that a stranger cannot lock a user
 * out; per account, so that many addresses cannot guess at one password; and per address, so that one address cannot
 * try many accounts. Each process counts for itself: n processes allow n times as many failures.
 */

const WINDOW_SECONDS = 15 * 60;
const FAILURES = { pair: 10, account: 100, address: 100 } as const;

export interface LoginThrottle {
  /**
   * Counts an attempt as failed before the password is checked, so that parallel guesses gain nothing.
   * @returns a function that takes the failure back; call it if the password was right
   * @throws AppError `rate_limited`
   */
  attempt(account: string, address: string): Promise<() => Promise<void>>;
}

export function createLoginThrottle(): LoginThrottle {
  const limiters = {
    pair: new RateLimiterMemory({ points: FAILURES.pair, duration: WINDOW_SECONDS }),
    account: new RateLimiterMemory({ points: FAILURES.account, duration: WINDOW_SECONDS }),
    address: new RateLimiterMemory({ points: FAILURES.address, duration: WINDOW_SECONDS }),
  };

  return {
    async attempt(account, address) {
      const pair = `${address} ${account}`;
      // The narrowest first: an attempt that it refuses does not use up the others.
      await consume(limiters.pair, pair);
      await consume(limiters.address, address);
      await consume(limiters.account, account);
      return async () => {
        await limiters.pair.delete(pair);
        await limiters.address.reward(address);
        await limiters.account.reward(account);
      };
    },
  };
}

async function consume(limiter: RateLimiterMemory, key: string): Promise<void> {
  try {
    await limiter.consume(key);
  } catch (refused) {
    if (!(refused instanceof RateLimiterRes)) throw refused;
    const minutes = Math.ceil(refused.msBeforeNext / 60_000);
    throw new AppError("rate_limited", `Too many failed logins; try again in ${minutes} min.`, {
      retryAfterMs: refused.msBeforeNext,
    });
  }
}
