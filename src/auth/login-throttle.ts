import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { AppError } from "../errors.ts";

/*
 * Guessing passwords is slow: failed logins are counted per account and address together, so that a stranger cannot
 * lock somebody out; per account, so that many addresses cannot guess at one; and per address, so that one address
 * cannot try many accounts. Counted in this process: several nodes allow that many times as much.
 */

const WINDOW_SECONDS = 15 * 60;
const FAILURES = { pair: 10, account: 100, address: 100 } as const;

export interface LoginThrottle {
  /**
   * Counts an attempt as failed, before the password is looked at: parallel guesses gain nothing.
   * @returns what to call when it succeeded after all.
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
      // The narrowest first: who is refused by it does not use up the others.
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
