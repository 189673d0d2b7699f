import { createHmac } from "node:crypto";
import { isOneOf } from "../../auth/secret-check.ts";

/*
 * What lets a media server call its hook.
 */

export const DIALECTS = ["nginx-rtmp", "srs", "mediamtx", "ovenmediaengine"] as const;
/** The kinds of media server whose hooks are spoken here. */
export type Dialect = (typeof DIALECTS)[number];

export interface HookSecrets {
  /** Without any, nobody can be let in. */
  configured: boolean;
  /** Whether it is one of the secrets. */
  matches(given: string): boolean;
  /** Whether one of the secrets signed the body: HMAC-SHA1 in base64url, padded or not. */
  signed(signature: string, body: Uint8Array): boolean;
}

/** The secrets of HOOK_SECRETS that are good for the dialect. */
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

/** Empty where the entry is another dialect's. */
function toSecretOf(dialect: Dialect, entry: string): string {
  const named = DIALECTS.find((name) => entry.startsWith(`${name}:`));
  if (named === undefined) return entry;
  return named === dialect ? entry.slice(named.length + 1).trim() : "";
}
