import { decodeJwt } from "jose";
import { AppError } from "../errors.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { BUILTIN_ISSUER } from "./builtin-tokens.ts";
import type { VerifyToken } from "./caller.ts";

export interface TokenKinds {
  builtin: VerifyToken;
  /** Null if no Firebase project is configured. */
  firebase: VerifyToken | null;
  metrics: Pick<Metrics, "tokenChecks">;
}

/**
 * Checks tokens of both kinds, and counts the outcomes. The issuer that a token names chooses the verifier and nothing
 * else: each verifier accepts its own issuer and algorithm alone.
 */
export function createTokenVerifier({ builtin, firebase, metrics }: TokenKinds): VerifyToken {
  return async (token) => {
    const [kind, verify] =
      firebase === null || isBuiltin(token) ? (["builtin", builtin] as const) : (["firebase", firebase] as const);
    try {
      const caller = await verify(token);
      metrics.tokenChecks.inc({ kind, outcome: "ok" });
      return caller;
    } catch (error) {
      metrics.tokenChecks.inc({ kind, outcome: error instanceof AppError ? error.code : "internal" });
      throw error;
    }
  };
}

function isBuiltin(token: string): boolean {
  try {
    return decodeJwt(token).iss === BUILTIN_ISSUER;
  } catch {
    // Malformed: both verifiers refuse it.
    return true;
  }
}
