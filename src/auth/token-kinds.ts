import { decodeJwt } from "jose";
import { AppError } from "../errors.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { BUILTIN_ISSUER } from "./builtin-tokens.ts";
import type { VerifyToken } from "./caller.ts";

export interface TokenKinds {
  builtin: VerifyToken;
  /** Null where no Firebase project is configured. */
  firebase: VerifyToken | null;
  metrics: Pick<Metrics, "tokenChecks">;
}

/**
 * Checks tokens of both kinds. The issuer that a token names picks the verifier and nothing else: each takes one
 * issuer and one algorithm, whatever else the token says.
 */
export function createTokenVerifier({ builtin, firebase, metrics }: TokenKinds): VerifyToken {
  return async (token) => {
    const kind = firebase !== null && !isBuiltin(token) ? "firebase" : "builtin";
    const verify = kind === "firebase" && firebase !== null ? firebase : builtin;
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
    // Malformed: either verifier says so.
    return true;
  }
}
