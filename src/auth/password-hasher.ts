import { compare, hash } from "bcrypt";
import { AppError } from "../errors.ts";

/*
 * bcrypt hashes of passwords. A hash takes about a tenth of a second of pure computing. bcrypt computes it on a thread
 * of libuv's pool, which also looks up names and checks tokens. So one password is hashed at a time: a flood of
 * sign-ins costs one core and one of the four threads, and past MAX_WAITING sign-ins are refused.
 */

const COST = 11;
const MAX_WAITING = 50;
const RETRY_AFTER_MS = 5000;

export interface PasswordHasher {
  /** @throws AppError `rate_limited` if too many passwords wait */
  hash(password: string): Promise<string>;
  /** @throws AppError `rate_limited` if too many passwords wait */
  matches(password: string, hash: string): Promise<boolean>;
  /** Fails the passwords that wait, and waits for the one that is being hashed. */
  stop(): Promise<void>;
}

/** `cost` is bcrypt's: each step doubles the work. */
export function createPasswordHasher({ cost = COST }: { cost?: number } = {}): PasswordHasher {
  /** Passwords in the queue, and the one that is being hashed. */
  let waiting = 0;
  /** Settles after the last password in the queue; never rejects. */
  let last: Promise<unknown> = Promise.resolve();
  let isStopped = false;

  async function enqueue<T>(work: () => Promise<T>): Promise<T> {
    if (waiting >= MAX_WAITING) {
      throw new AppError("rate_limited", "Too many people sign in at this moment; try again.", {
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    waiting += 1;
    const done = last
      .then(() => {
        if (isStopped) throw new AppError("unavailable", "The server is stopping.");
        return work();
      })
      .finally(() => {
        waiting -= 1;
      });
    last = done.catch(() => undefined);
    return done;
  }

  return {
    hash: (password) => enqueue(() => hash(password, cost)),
    matches: (password, stored) => enqueue(() => compare(password, stored)),
    async stop() {
      isStopped = true;
      await last;
    },
  };
}
