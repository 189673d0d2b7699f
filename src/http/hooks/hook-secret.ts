import { createHmac } from "node:crypto";
import { isOneOf } from "../../auth/secret-check.ts";

/*
 * The secrets with which media servers call their hooks.
 */

export const DIALECTS = ["nginx-rtmp", "srs", "mediamtx", "ovenmediaengine"] as const;
/** The kinds of media servers that have hooks here. */
export type Dialect = (typeof DIALECTS)[number];

export interface HookSecrets {
  /** Whether there is a secret; without one every call is refused. */
  configured: boolean;
  /** Whether the given text is one of the secrets. */
  matches(given: string): boolean;
  /** Whether the body was signed with one of the secrets: HMAC-SHA1 in base64url, padded or not. */
  signed(signature: string, body: Uint8Array): boolean;
}

/** The secrets of HOOK_SECRETS that are valid for the dialect. */
export function createHookSecrets(entries: string[], dialect: Dialect): HookSecrets {
  const secrets = entries.map((entry) => toSecretOf(dialect, entry)).filter((secret) => secret !== "");
  return {
    configured: secrets.length > 0,
    matches: (given) => isOneOf(given, secrets),
    signed: (signature, body) =>
      isOneOf(
        signature.replace(/={1,2}$/, ""),
        secrets.map((secret) => createHmac("sha1", secret).update(body).digest("base64url")),
      ),
  };
}

/** The secret of the entry; empty if the entry is for another dialect. */
function toSecretOf(dialect: Dialect, entry: string): string {
  const named = DIALECTS.find((name) => entry.startsWith(`${name}:`));
  if (named === undefined) return entry;
  return named === dialect ? entry.slice(named.length + 1).trim() : "";
}
