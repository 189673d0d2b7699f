import { createHash, timingSafeEqual } from "node:crypto";

/**
 * Whether `given` is one of the secrets. The time that this takes tells nothing about them: the digests have one
 * length, and each is compared every time.
 */
export function isOneOf(given: string, secrets: readonly string[]): boolean {
  const digest = toDigest(given);
  // Not `some`, which would stop at the first match.
  return secrets.reduce((found, secret) => timingSafeEqual(digest, toDigest(secret)) || found, false);
}

function toDigest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
