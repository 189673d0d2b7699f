import { randomUUID } from "node:crypto";
import type { Agent } from "node:https";
import { type Credential, deleteApp, initializeApp } from "firebase-admin/app";
import { type Auth, getAuth } from "firebase-admin/auth";
import { decodeJwt, decodeProtectedHeader } from "jose";
import { z } from "zod";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { Id } from "../protocol/ids.ts";
import { ROLES, type Role } from "../protocol/roles.ts";
import type { VerifyToken } from "./caller.ts";
import { CertificateAgent } from "./certificate-agent.ts";
import { GoogleCertificates } from "./google-certificates.ts";
import { UserStandings } from "./user-standings.ts";

/*
 * ID tokens of a Firebase project: firebase-admin checks signature, audience, issuer and end. Around it stands what it
 * leaves open: certificates that cannot be fetched are no bad token, clocks differ, an instant may lie in the future, and
 * a token may have been revoked. To be imported only where a project is configured: firebase-admin takes its time.
 */

const ISSUER = "https://securetoken.google.com/";
/** Between Google's clock and this machine's, and between two machines' here. */
const CLOCK_SKEW_SECONDS = 60;
const GET_ANOTHER = "get another from Firebase (`getIdToken(true)`)";

export interface FirebaseTokensOptions {
  projectId: string;
  /** Who may ask Firebase about its users; null where nobody may, and then revocation is not looked at. */
  credential: Promise<Credential | null>;
  /** How to reach Google, where not directly. */
  httpAgent?: Agent | undefined;
  metrics: Pick<Metrics, "googleRequests">;
  logger: Logger;
}

export interface FirebaseTokens {
  verify: VerifyToken;
  stop(): Promise<void>;
}

export function createFirebaseTokens(options: FirebaseTokensOptions): FirebaseTokens {
  const { projectId, httpAgent, metrics, logger } = options;
  const certificates = new GoogleCertificates({ httpAgent, metrics, logger });
  // Fetched ahead; a failure has been logged, and whoever comes first tries again.
  certificates.load().catch(() => undefined);
  const verifier = openApp({ projectId, httpAgent: new CertificateAgent(() => certificates.held) });
  const directory = options.credential.then((credential) =>
    credential === null ? null : openApp({ projectId, credential, ...(httpAgent === undefined ? {} : { httpAgent }) }),
  );
  const standings = directory.then((app) =>
    app === null ? null : new UserStandings({ auth: app.auth, metrics, logger }),
  );
  // Whoever verifies hears of it.
  standings.catch(() => undefined);
  const Token = createTokenSchema(projectId);

  return {
    async verify(token) {
      const { sub, exp, auth_time, role } = readClaims(Token, token);
      await certificates.load();
      const isOver = await checkSignature(verifier.auth, token);
      const endsAt = isOver ? exp + CLOCK_SKEW_SECONDS : exp;
      if (endsAt <= nowSeconds()) {
        throw new AppError("unauthenticated", `The token has expired; ${GET_ANOTHER}.`);
      }
      await (await standings)?.assertGood(sub, auth_time * 1000);
      return { userId: sub, role: toRole(role), expiresAt: new Date(endsAt * 1000) };
    },
    async stop() {
      await verifier.close();
      await (await directory.catch(() => null))?.close();
    },
  };
}

function openApp(options: Parameters<typeof initializeApp>[0]) {
  // firebase-admin keeps all apps of a process under their names.
  const app = initializeApp(options, `playhead-${randomUUID()}`);
  return { auth: getAuth(app), close: () => deleteApp(app) };
}

/**
 * What the token has to say before firebase-admin looks at it. A `kid` and RS256 are asked for here, because
 * firebase-admin takes any token without a signature while FIREBASE_AUTH_EMULATOR_HOST is set.
 */
function createTokenSchema(projectId: string) {
  const Instant = z.number().min(0).max(8.64e12);
  const Past = Instant.refine((seconds) => seconds <= nowSeconds() + CLOCK_SKEW_SECONDS, {
    error: "in the future; compare this server's clock",
  });
  return z.object({
    alg: z.literal("RS256", { error: "not RS256" }),
    kid: z.string().min(1),
    iss: z.literal(ISSUER + projectId, { error: "not this project's" }),
    aud: z.literal(projectId, { error: "not this project's" }),
    sub: Id,
    exp: Instant,
    iat: Past,
    auth_time: Past,
    // Users of tenants have ids of their own, which may be those of other users.
    firebase: z.object({ tenant: z.undefined({ error: "not taken" }).optional() }).optional(),
    role: z.unknown().optional(),
  });
}

type TokenSchema = ReturnType<typeof createTokenSchema>;

function readClaims(schema: TokenSchema, token: string): z.infer<TokenSchema> {
  const result = schema.safeParse(decode(token));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new AppError("unauthenticated", `The token's \`${issue?.path.join(".")}\`: ${issue?.message}; ${GET_ANOTHER}.`);
}

function decode(token: string): object {
  try {
    const { alg, kid } = decodeProtectedHeader(token);
    return { ...decodeJwt(token), alg, kid };
  } catch (cause) {
    throw new AppError("unauthenticated", `The token is malformed; ${GET_ANOTHER}.`, { cause });
  }
}

/** A custom claim may be anything: what is no role gives the least. */
function toRole(claim: unknown): Role {
  return ROLES.find((role) => role === claim) ?? "learner";
}

/**
 * Tells whether the token is past its end, which firebase-admin says only of one whose signature is right.
 * @throws AppError `unauthenticated`
 */
async function checkSignature(auth: Auth, token: string): Promise<boolean> {
  try {
    await auth.verifyIdToken(token);
    return false;
  } catch (cause) {
    const { code } = cause as { code?: unknown };
    if (code === "auth/id-token-expired") return true;
    if (code !== "auth/argument-error") throw cause;
    throw new AppError("unauthenticated", `The token is not signed with one of Google's keys; ${GET_ANOTHER}.`, {
      cause,
    });
  }
}

function nowSeconds(): number {
  return Date.now() / 1000;
}
