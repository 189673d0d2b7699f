import { AppError } from "../../errors.ts";
import { Allowances } from "../../limits/allowances.ts";
import { toNetwork, UNKNOWN_NETWORK } from "../../limits/network-address.ts";

/*
 * Counts wrong keys in this process, per media server and per network of the encoder. Right keys are never counted, so
 * nobody with a right key waits because of others behind the same server or network.
 */

const PER_NETWORK = { burst: 20, perSecond: 20 / 60 };
const PER_SERVER = { burst: 600, perSecond: 10 };

export interface WrongKeys {
  /**
   * Counts one wrong key. A `clientIp` that is no address, as `unix:`, counts for its media server alone.
   * @returns null while there were not too many, else the refusal `rate_limited`
   */
  count(server: string, clientIp: string | null): AppError | null;
}

export function createWrongKeys(): WrongKeys {
  const servers = new Allowances(PER_SERVER);
  const networks = new Allowances(PER_NETWORK);
  /** One error for each number of seconds to wait: a flood is refused by the thousand, and every new error costs its stack trace. */
  const refusals = new Map<number, AppError>();

  return {
    count(server, clientIp) {
      const network = clientIp === null ? UNKNOWN_NETWORK : toNetwork(clientIp);
      const networkWaitMs = network === UNKNOWN_NETWORK ? 0 : networks.take(`${server}\u0000${network}`);
      const waitMs = networkWaitMs || servers.take(server);
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
