import { AppError } from "../errors.ts";
import { CountWindows } from "../limits/count-windows.ts";

/*
 * Failed logins are limited in three ways: per account and address together, so that a stranger cannot lock a user
 * out; per account, so that many addresses cannot guess at one password; and per address, so that one address cannot
 * try many accounts. Each process counts for itself: n processes allow n times as many failures.
 */

const WINDOW_MS = 15 * 60 * 1000;
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
  const failures = {
    pair: new CountWindows({ most: FAILURES.pair, windowMs: WINDOW_MS }),
    account: new CountWindows({ most: FAILURES.account, windowMs: WINDOW_MS }),
    address: new CountWindows({ most: FAILURES.address, windowMs: WINDOW_MS }),
  };

  return {
    async attempt(account, address) {
      const pair = `${address} ${account}`;
      // The narrowest first: an attempt that it refuses does not use up the others.
      count(failures.pair, pair);
      count(failures.address, address);
      count(failures.account, account);
      return async () => {
        failures.pair.forget(pair);
        failures.address.takeBack(address);
        failures.account.takeBack(account);
      };
    },
  };
}

/** @throws AppError `rate_limited` */
function count(windows: CountWindows, key: string): void {
  const retryAfterMs = windows.count(key);
  if (retryAfterMs === 0) return;
  const minutes = Math.ceil(retryAfterMs / 60_000);
  throw new AppError("rate_limited", `Too many failed logins; try again in ${minutes} min.`, { retryAfterMs });
}
