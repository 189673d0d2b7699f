import type { Context } from "hono";
import { AppError } from "../../errors.ts";
import type { RateLimit } from "../../limits/rate-limit.ts";
import type { ClientAddress } from "../client-address.ts";
import type { Middleware, RouterTypes } from "../router.ts";
import { createHookSecrets, type Dialect } from "./hook-secret.ts";

interface GuardParts {
  /** The entries of HOOK_SECRETS. */
  secrets: string[];
  limitAddress: RateLimit;
  clientAddress: ClientAddress;
}

export interface HookGuard {
  /** Lets calls pass that carry a secret as `?secret=`. */
  bySecret(dialect: Dialect): Middleware;
  /** Lets calls pass whose body is signed with a secret. */
  bySignature(dialect: Dialect, header: string): Middleware;
}

/** Checks the secrets of hooks. Only failed calls are counted, for their address: a media server may ask as often as it likes. */
export function createHookGuard({ secrets, limitAddress, clientAddress }: GuardParts): HookGuard {
  async function refuse(c: Context<RouterTypes>, message: string): Promise<never> {
    await limitAddress(clientAddress(c));
    throw new AppError("unauthenticated", message);
  }

  function secretsOf(dialect: Dialect) {
    const own = createHookSecrets(secrets, dialect);
    return () => {
      if (own.configured) return own;
      // Not `forbidden`, which the proxy in front of nginx's hooks takes as the order to end a publisher.
      throw new AppError(
        "unauthenticated",
        `Hooks of ${dialect} are refused until HOOK_SECRETS names a secret for them.`,
      );
    };
  }

  return {
    bySecret(dialect) {
      const require = secretsOf(dialect);
      return async (c, next) => {
        const isRight = require().matches(c.req.query("secret") ?? "");
        if (!isRight) await refuse(c, "The hook's address needs `?secret=` with one of HOOK_SECRETS.");
        await next();
      };
    },
    bySignature(dialect, header) {
      const require = secretsOf(dialect);
      return async (c, next) => {
        const isRight = require().signed(c.req.header(header) ?? "", new Uint8Array(await c.req.arrayBuffer()));
        if (!isRight)
          await refuse(c, `The header ${header} is not the signature of the body with one of HOOK_SECRETS.`);
        await next();
      };
    },
  };
}
