import { AppError } from "../../errors.ts";
import { Allowances } from "../../limits/allowances.ts";

/*
 * Counts wrong keys in this process, per media server and per address of the encoder. Right keys are never counted, so
 * nobody with a right key waits because of others behind the same server or address.
 */

const PER_ADDRESS = { burst: 20, perSecond: 20 / 60 };
const PER_SERVER = { burst: 600, perSecond: 10 };

export interface WrongKeys {
  /** Counts one wrong key. Null while there were not too many, else the refusal `rate_limited`. */
  count(server: string, clientIp: string | null): AppError | null;
}

export function createWrongKeys(): WrongKeys {
  const servers = new Allowances(PER_SERVER);
  const addresses = new Allowances(PER_ADDRESS);
  /** One error for each number of seconds to wait: a flood is refused by the thousand, and every new error costs its stack trace. */
  const refusals = new Map<number, AppError>();

  return {
    count(server, clientIp) {
      const waitMs = (clientIp === null ? 0 : addresses.take(`${server}\u0000${clientIp}`)) || servers.take(server);
      if (waitMs === 0) return null;
      const seconds = Math.ceil(waitMs / 1000);
      let refusal = refusals.get(seconds);
      if (refusal === undefined) {
        refusal = new AppError(
          "rate_limited",
          "Too many wrong stream keys came from this server or address; a right key is still accepted.",
          { retryAfterMs: seconds * 1000 },
        );
        refusals.set(seconds, refusal);
      }
      return refusal;
    },
  };
}
