import { compare, hash } from "bcrypt";
import { AppError } from "../errors.ts";
import { Bulkhead } from "../limits/bulkhead.ts";

/*
 * bcrypt hashes of passwords. A hash takes about a tenth of a second of pure computing. bcrypt computes it on a thread
 * of libuv's pool, which also looks up names and checks tokens. So one password is hashed at a time: a flood of
 * sign-ins costs one core and one of the four threads. Networks are served in turns, and each may have only so many
 * passwords waiting; past MAX_WAITING sign-ins are refused. Registrations have a smaller limit of their own, so that they
 * leave room for logins.
 */

const COST = 11;
const MAX_WAITING = 50;
/** How many passwords of registrations may wait. */
const MAX_REGISTRATIONS = 25;
/** How many passwords of one network may wait. */
const MAX_OF_NETWORK = 20;
const RETRY_AFTER_MS = 5000;

export interface PasswordHasher {
  /** Hashes the password of a registration. @throws AppError `rate_limited` if too many passwords wait */
  hash(password: string, network: string): Promise<string>;
  /** Compares the password of a login. @throws AppError `rate_limited` if too many passwords wait */
  matches(password: string, hash: string, network: string): Promise<boolean>;
  /** Makes a hash of the server's own, which waits for nobody. */
  makeHash(password: string): Promise<string>;
  /** Fails the passwords that wait, and waits for the one that is being hashed. */
  stop(): Promise<void>;
}

/** `cost` is bcrypt's: each step doubles the work. */
export function createPasswordHasher({ cost = COST }: { cost?: number } = {}): PasswordHasher {
  const turns = new Bulkhead({ perKey: 1, total: 1 });
  /** Passwords that wait or are being hashed: of all, of registrations, and by network. */
  let waiting = 0;
  let registrations = 0;
  const ofNetworks = new Map<string, number>();
  /** Settles after the password that is being hashed; never rejects. */
  let running: Promise<unknown> = Promise.resolve();
  let isStopped = false;
  let lastNumber = 0;

  function count(network: string, isRegistration: boolean, change: 1 | -1): void {
    waiting += change;
    if (isRegistration) registrations += change;
    const ofNetwork = (ofNetworks.get(network) ?? 0) + change;
    if (ofNetwork > 0) ofNetworks.set(network, ofNetwork);
    else ofNetworks.delete(network);
  }

  function isFull(network: string, isRegistration: boolean): boolean {
    if (waiting >= MAX_WAITING || (isRegistration && registrations >= MAX_REGISTRATIONS)) return true;
    return (ofNetworks.get(network) ?? 0) >= MAX_OF_NETWORK;
  }

  async function enqueue<T>(network: string, isRegistration: boolean, work: () => Promise<T>): Promise<T> {
    if (isFull(network, isRegistration)) {
      throw new AppError("rate_limited", "Too many people sign in at this moment; try again.", {
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    count(network, isRegistration, 1);
    lastNumber += 1;
    try {
      return await turns.run(network, String(lastNumber), async () => {
        if (isStopped) throw new AppError("unavailable", "The server is stopping.");
        const done = work();
        running = done.catch(() => undefined);
        return done;
      });
    } finally {
      count(network, isRegistration, -1);
    }
  }

  return {
    hash: (password, network) => enqueue(network, true, () => hash(password, cost)),
    matches: (password, stored, network) => enqueue(network, false, () => compare(password, stored)),
    makeHash: (password) => hash(password, cost),
    async stop() {
      isStopped = true;
      await running;
    },
  };
}
