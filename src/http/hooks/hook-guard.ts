import type { Context } from "hono";
import { AppError } from "../../errors.ts";
import type { RateLimit } from "../../limits/rate-limit.ts";
import type { ClientAddress } from "../client-address.ts";
import type { HttpMiddleware, HttpTypes } from "../http-app.ts";
import { createHookSecrets, type Dialect } from "./hook-secret.ts";

interface GuardParts {
  /** As HOOK_SECRETS lists them. */
  secrets: string[];
  limitAddress: RateLimit;
  clientAddress: ClientAddress;
}

export interface HookGuard {
  /** Lets those pass who name a secret as `?secret=`. */
  bySecret(dialect: Dialect): HttpMiddleware;
  /** Lets those pass who signed the body with one. */
  bySignature(dialect: Dialect, header: string): HttpMiddleware;
}

/** Only calls that fail count, for the address they come from: a media server is never held up by how much it asks. */
export function createHookGuard({ secrets, limitAddress, clientAddress }: GuardParts): HookGuard {
  async function refuse(c: Context<HttpTypes>, message: string): Promise<never> {
    await limitAddress(clientAddress(c));
    throw new AppError("unauthenticated", message);
  }

  function secretsOf(dialect: Dialect) {
    const own = createHookSecrets(secrets, dialect);
    return () => {
      if (own.configured) return own;
      // Not `forbidden`: to nginx, behind its own proxy, that alone means that a publisher is to be cut.
      throw new AppError(
        "unauthenticated",
        `No hook of ${dialect} is let in until HOOK_SECRETS names a secret for it.`,
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
        if (!isRight) await refuse(c, `The header ${header} is not the body's signature by one of HOOK_SECRETS.`);
        await next();
      };
    },
  };
}
