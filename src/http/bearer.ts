import type { Context } from "hono";
import type { Caller, VerifyToken } from "../auth/caller.ts";
import { AppError } from "../errors.ts";
import type { RateLimit } from "../limits/rate-limit.ts";
import type { ClientAddress } from "./client-address.ts";
import type { Middleware, RouterTypes } from "./router.ts";

/** How routes learn who is calling. */
export interface Bearer {
  /** Middleware that lets requests with a valid token pass, and sets `c.var.caller`. */
  required: Middleware;
  /**
   * Checks a token that came elsewhere than in the header, and counts the call as `cost` calls.
   * @throws AppError `unauthenticated`, `rate_limited`
   */
  authenticate(c: Context<RouterTypes>, token: string | undefined, cost?: number): Promise<Caller>;
  /**
   * Counts so many calls more for a caller whose call is counted as one; together at most a burst.
   * @throws AppError `rate_limited`
   */
  charge(caller: Caller, calls: number): Promise<void>;
}

interface BearerParts {
  verifyToken: VerifyToken;
  limitUser: RateLimit;
  limitAddress: RateLimit;
  clientAddress: ClientAddress;
  /** How many calls `limitUser` takes at once. */
  burst: number;
}

/** Counts calls with a valid token for the token's user, and all others for the address from which they come. */
export function createBearer(parts: BearerParts): Bearer {
  const { verifyToken, limitUser, limitAddress, clientAddress, burst } = parts;
  async function authenticate(c: Context<RouterTypes>, token: string | undefined, cost?: number): Promise<Caller> {
    try {
      if (token === undefined) {
        throw new AppError("unauthenticated", "No token came: send the header `Authorization: Bearer <token>`.");
      }
      const caller = await verifyToken(token);
      await limitUser(caller.userId, cost);
      return caller;
    } catch (error) {
      if (error instanceof AppError && error.code === "unauthenticated") await limitAddress(clientAddress(c));
      throw error;
    }
  }

  return {
    authenticate,
    charge: (caller, calls) => limitUser(caller.userId, Math.min(calls, burst - 1)),
    required: async (c, next) => {
      c.set("caller", await authenticate(c, readBearer(c)));
      await next();
    },
  };
}

/** The bearer token of the Authorization header, if there is one. */
export function readBearer(c: Context<RouterTypes>): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(c.req.header("authorization") ?? "")?.[1];
}
