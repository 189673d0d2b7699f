import type pg from "pg";
import type { Config } from "../config.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { type Accounts, createAccounts } from "./accounts.ts";
import { loadAuthSecret } from "./auth-secret.ts";
import { createBuiltinTokens } from "./builtin-tokens.ts";
import type { MintToken, VerifyToken } from "./caller.ts";
import type { AdmitUser } from "./deleted-users.ts";
import type { FirebaseTokens, FirebaseTokensOptions } from "./firebase-tokens.ts";
import { createTokenVerifier } from "./token-kinds.ts";

/** How to reach Google, if not directly, and with which right. For tests. */
export type GoogleAccess = Partial<Pick<FirebaseTokensOptions, "keysUrl" | "httpAgent" | "credential">>;

export interface IdentityParts {
  config: Config;
  pool: pg.Pool;
  google: GoogleAccess | undefined;
  admit: AdmitUser;
  metrics: Metrics;
  logger: Logger;
}

export interface Identity {
  /** Accepts tokens of every configured kind. */
  verifyToken: VerifyToken;
  mintToken: MintToken;
  /** Null if the built-in accounts are switched off. */
  accounts: Accounts | null;
  stop(): Promise<void>;
}

/** Opens all that tells who is calling: built-in tokens and accounts, and Firebase's tokens if a project is configured. */
export async function createIdentity(parts: IdentityParts): Promise<Identity> {
  const { config, pool, admit, metrics } = parts;
  const secret = await loadAuthSecret({ config, pool });
  const builtin = createBuiltinTokens({ secret, ttlSeconds: config.TOKEN_TTL_SECONDS, admit });
  const firebase = await openFirebase(parts);
  const accounts = config.BUILTIN_ACCOUNTS ? createAccounts({ pool, mintToken: builtin.mint }) : null;
  return {
    verifyToken: createTokenVerifier({ builtin: builtin.verify, firebase: firebase?.verify ?? null, metrics }),
    mintToken: builtin.mint,
    accounts,
    async stop() {
      await Promise.all([accounts?.stop(), firebase?.stop()]);
    },
  };
}

async function openFirebase({
  config,
  google = {},
  admit,
  metrics,
  logger,
}: IdentityParts): Promise<FirebaseTokens | null> {
  const { FIREBASE_PROJECT_ID: projectId, GOOGLE_APPLICATION_CREDENTIALS: file } = config;
  if (projectId === undefined) return null;
  // Imported here, because firebase-admin loads slowly and most installations do without.
  const { createFirebaseTokens } = await import("./firebase-tokens.ts");
  const { assertCredentialFile, findCredential } = await import("./google-credential.ts");
  await assertCredentialFile(file);
  // Not awaited: if this machine has no Google credentials, Google's library takes seconds to say so.
  const findOne = () => google.credential ?? findCredential({ file, logger });
  const credential = config.FIREBASE_CHECK_REVOKED ? findOne() : Promise.resolve(null);
  return createFirebaseTokens({ ...google, projectId, credential, admit, metrics, logger });
}
