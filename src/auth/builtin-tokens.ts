import { errors, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { AppError } from "../errors.ts";
import { ROLES } from "../protocol/roles.ts";
import type { MintToken, VerifyToken } from "./caller.ts";
import { Claims, readClaims, TokenInstant } from "./claims.ts";
import type { AdmitUser } from "./deleted-users.ts";

/*
 * Built-in tokens: JWTs signed with one secret that all nodes share. HS256 is the only algorithm accepted, whatever a
 * token's header says. A token ends at its `exp` to the second: Playhead signs it and checks it, so no clocks differ.
 */

const ALGORITHM = "HS256";
/** The `iss` of built-in tokens. */
export const BUILTIN_ISSUER = "playhead";
const GET_ANOTHER = "sign in again, or mint one with `playhead token`";

const BuiltinClaims = Claims.extend({
  role: z.enum(ROLES),
  /** Without it the token counts as older than everything. */
  iat: TokenInstant.catch(0),
});

export interface BuiltinTokens {
  mint: MintToken;
  verify: VerifyToken;
}

export interface BuiltinTokensOptions {
  secret: string;
  /** The lifetime of a token unless the caller of `mint` gives another. */
  ttlSeconds: number;
  /** Knows the users who were deleted; without it, nobody was. */
  admit?: AdmitUser;
}

/** Mints and checks built-in tokens. */
export function createBuiltinTokens({ secret, ttlSeconds, admit }: BuiltinTokensOptions): BuiltinTokens {
  const key = new TextEncoder().encode(secret);

  return {
    async mint({ userId, role, name }, lifetimeSeconds = ttlSeconds) {
      const isUsable = Claims.shape.sub.safeParse(userId);
      if (!isUsable.success) {
        const [issue] = isUsable.error.issues;
        throw new AppError("forbidden", `No token can be made for the user's id: ${issue?.message}.`);
      }
      const issuedAt = Math.floor(Date.now() / 1000);
      const expiresAt = issuedAt + lifetimeSeconds;
      const token = await new SignJWT({ role, name })
        .setProtectedHeader({ alg: ALGORITHM, typ: "JWT" })
        .setIssuer(BUILTIN_ISSUER)
        .setSubject(userId)
        .setIssuedAt(issuedAt)
        .setExpirationTime(expiresAt)
        .sign(key);
      return { token, expiresAt: new Date(expiresAt * 1000) };
    },

    async verify(token) {
      const { payload } = await jwtVerify(token, key, {
        algorithms: [ALGORITHM],
        issuer: BUILTIN_ISSUER,
        requiredClaims: ["sub", "exp"],
        clockTolerance: 0,
      }).catch((error: unknown) => {
        throw toAppError(error);
      });
      const { sub, role, exp, iat, name } = readClaims(BuiltinClaims, payload, GET_ANOTHER);
      await admit?.(sub, iat * 1000);
      return { userId: sub, role, ...(name === undefined ? {} : { name }), expiresAt: new Date(exp * 1000) };
    },
  };
}

/** Says what is wrong with the token, and never repeats any part of it. */
function toAppError(cause: unknown): unknown {
  if (!(cause instanceof errors.JOSEError)) return cause;
  return new AppError("unauthenticated", `${explain(cause)}; ${GET_ANOTHER}.`, { cause });
}

function explain(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return "The token has expired";
  if (error instanceof errors.JWTClaimValidationFailed)
    return `The token's \`${error.claim}\` is missing or not Playhead's`;
  if (error instanceof errors.JOSEAlgNotAllowed) return `The token is not signed with ${ALGORITHM}`;
  if (error instanceof errors.JWSSignatureVerificationFailed) return "The token's signature is not this server's";
  return "The token is malformed";
}
