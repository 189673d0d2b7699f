import { AppError } from "../../errors.ts";
import { Allowances } from "../../limits/allowances.ts";

/*
 * Wrong keys are counted, per media server and per address of the encoder, in this process. Only wrong ones: whoever
 * comes with a right key is never kept waiting, whatever others behind the same server or address try.
 */

const PER_ADDRESS = { burst: 20, perSecond: 20 / 60 };
const PER_SERVER = { burst: 600, perSecond: 10 };

export interface WrongKeys {
  /** Null where there were not too many, else the refusal: `rate_limited`. */
  count(server: string, clientIp: string | null): AppError | null;
}

export function createWrongKeys(): WrongKeys {
  const servers = new Allowances(PER_SERVER);
  const addresses = new Allowances(PER_ADDRESS);
  /** By the seconds to wait: a flood is refused by the thousand, and what an error costs is its stack. */
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
          "Too many wrong stream keys came from there; a right one is still taken.",
          {
            retryAfterMs: seconds * 1000,
          },
        );
        refusals.set(seconds, refusal);
      }
      return refusal;
    },
  };
}
