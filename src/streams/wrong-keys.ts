import { createRateLimit } from "../auth/rate-limit.ts";
import { AppError } from "../errors.ts";

/*
 * Wrong keys are counted, per media server and per address of the encoder, in this process. Only wrong ones: whoever
 * comes with a right key is never kept waiting, whatever others behind the same server or address try.
 */

const PER_ADDRESS = { burst: 20, perSecond: 20 / 60 };
const PER_SERVER = { burst: 600, perSecond: 10 };

export interface WrongKeys {
  /** @throws AppError `rate_limited` where there were too many */
  count(server: string, clientIp: string | null): Promise<void>;
}

export function createWrongKeys(): WrongKeys {
  const limitServer = createRateLimit(PER_SERVER);
  const limitAddress = createRateLimit(PER_ADDRESS);
  return {
    async count(server, clientIp) {
      try {
        if (clientIp !== null) await limitAddress(`${server}\u0000${clientIp}`);
        await limitServer(server);
      } catch (refusal) {
        if (!(refusal instanceof AppError)) throw refusal;
        throw new AppError("rate_limited", "Too many wrong stream keys came from there; a right one is still taken.", {
          ...(refusal.retryAfterMs === undefined ? {} : { retryAfterMs: refusal.retryAfterMs }),
        });
      }
    },
  };
}
