import { randomUUID } from "node:crypto";
import type { Agent } from "node:https";
import { type Credential, deleteApp, initializeApp } from "firebase-admin/app";
import { getAuth } from "firebase-admin/auth";
import { errors, jwtVerify } from "jose";
import { z } from "zod";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { ROLES, type Role } from "../protocol/roles.ts";
import type { VerifyToken } from "./caller.ts";
import { Claims, readClaims, TokenInstant } from "./claims.ts";
import type { AdmitUser } from "./deleted-users.ts";
import { GoogleKeys } from "./google-keys.ts";
import { UserStandings } from "./user-standings.ts";

/*
 * ID tokens of a Firebase project. jose checks the signature, the issuer, the audience and the expiry; the schema
 * below checks the other claims; firebase-admin asks whether the user's tokens were revoked. Import this file only
 * if a project is configured: firebase-admin loads slowly.
 * https://firebase.google.com/docs/auth/admin/verify-id-tokens#verify_id_tokens_using_a_third-party_jwt_library
 */

const ISSUER = "https://securetoken.google.com/";
const ALGORITHM = "RS256";
/** How far Google's clock and the clocks of our servers may differ. */
const CLOCK_SKEW_SECONDS = 60;
const GET_ANOTHER = "get another from Firebase (`getIdToken(true)`)";

export interface FirebaseTokensOptions {
  projectId: string;
  /** The right to ask Firebase about its users. Null: nobody has it, so revocation is not checked. */
  credential: Promise<Credential | null>;
  /** Where Google's public keys are, if not at Google. */
  keysUrl?: URL | undefined;
  /** How firebase-admin reaches Google, if not directly. */
  httpAgent?: Agent | undefined;
  /** Knows the users who were deleted; without it, nobody was. */
  admit?: AdmitUser;
  metrics: Pick<Metrics, "googleRequests">;
  logger: Logger;
}

export interface FirebaseTokens {
  verify: VerifyToken;
  stop(): Promise<void>;
}

/** Starts to fetch Google's public keys. Throws nothing: a failure shows when a token is verified. */
export function createFirebaseTokens(options: FirebaseTokensOptions): FirebaseTokens {
  const { projectId, keysUrl, admit, metrics, logger } = options;
  const keys = new GoogleKeys({ url: keysUrl, metrics, logger });
  const revocation = options.credential.then((credential) =>
    credential === null ? null : openRevocation(options, credential),
  );
  // `verify` reports it.
  revocation.catch(() => undefined);
  const rules = {
    algorithms: [ALGORITHM],
    issuer: ISSUER + projectId,
    audience: projectId,
    requiredClaims: ["exp"],
    clockTolerance: CLOCK_SKEW_SECONDS,
  };

  return {
    async verify(token) {
      const { payload } = await jwtVerify(token, keys.find, rules).catch((error: unknown) => {
        throw toAppError(error);
      });
      const { sub, exp, auth_time, role, name } = readClaims(FirebaseClaims, payload, GET_ANOTHER);
      await (await revocation)?.standings.assertGood(sub, auth_time * 1000);
      // By the sign-in: an open page renews its token without one.
      await admit?.(sub, auth_time * 1000);
      // A token within the tolerance lives to the tolerance's end; otherwise its socket would close as it opens.
      const endsAt = exp <= nowSeconds() ? exp + CLOCK_SKEW_SECONDS : exp;
      return {
        userId: sub,
        role: toRole(role),
        ...(name === undefined ? {} : { name }),
        expiresAt: new Date(endsAt * 1000),
      };
    },
    async stop() {
      await (await revocation.catch(() => null))?.close();
    },
  };
}

function openRevocation({ projectId, httpAgent, metrics, logger }: FirebaseTokensOptions, credential: Credential) {
  const app = initializeApp(
    { projectId, credential, ...(httpAgent === undefined ? {} : { httpAgent }) },
    // firebase-admin keeps all apps of a process under their names.
    `playhead-${randomUUID()}`,
  );
  return {
    standings: new UserStandings({ auth: getAuth(app), metrics, logger }),
    close: () => deleteApp(app),
  };
}

const Past = TokenInstant.refine((seconds) => seconds <= nowSeconds() + CLOCK_SKEW_SECONDS, {
  error: "in the future; compare this server's clock",
});
const FirebaseClaims = Claims.extend({
  /** jose would also take a list that contains the project. */
  aud: z.string({ error: "not this project's alone" }),
  iat: Past,
  auth_time: Past,
  /** Users of tenants have their own ids, and these may equal the ids of other users. */
  firebase: z.object({ tenant: z.undefined({ error: "not taken" }).optional() }).optional(),
  role: z.unknown().optional(),
});

/** A custom claim may be anything: a value that is no role gives the least rights. */
function toRole(claim: unknown): Role {
  return ROLES.find((role) => role === claim) ?? "learner";
}

/** Says what is wrong with the token, and never repeats any part of it. */
function toAppError(cause: unknown): unknown {
  if (!(cause instanceof errors.JOSEError)) return cause;
  return new AppError("unauthenticated", `${explain(cause)}; ${GET_ANOTHER}.`, { cause });
}

function explain(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return "The token has expired";
  if (error instanceof errors.JWTClaimValidationFailed)
    return `The token's \`${error.claim}\` is missing or not this project's`;
  if (error instanceof errors.JOSEAlgNotAllowed) return `The token's \`alg\` is not ${ALGORITHM}`;
  if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JWKSNoMatchingKey)
    return "The token is not signed with one of Google's keys";
  return "The token is malformed";
}

function nowSeconds(): number {
  return Date.now() / 1000;
}
