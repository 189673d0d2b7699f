import { hash, randomBytes } from "node:crypto";
import { KEY_MARK, SHOWN_KEY_CHARACTERS } from "../../hide-stream-keys.ts";

/*
 * Stream keys. A key is shown once; what is kept is its hash. It is random enough that a plain SHA-256 cannot be
 * turned back, so a look-up stays one read of an index.
 */

/** 216 bits; the prefix shows 36 of them, so 180 stay secret. */
const RANDOM_BYTES = 27;

export interface StreamKeyParts {
  streamKey: string;
  hash: Buffer;
  /** What may be shown of it. */
  prefix: string;
}

/** A new key, in characters that every media server takes as the name of a stream (`A-Za-z0-9_-`). */
export function makeStreamKey(): StreamKeyParts {
  const streamKey = KEY_MARK + randomBytes(RANDOM_BYTES).toString("base64url");
  return { streamKey, hash: hashStreamKey(streamKey), prefix: streamKey.slice(0, SHOWN_KEY_CHARACTERS) };
}

export function hashStreamKey(streamKey: string): Buffer {
  return hash("sha256", streamKey, "buffer");
}

/** The same in hex. */
export function hashStreamKeyToHex(streamKey: string): string {
  return hash("sha256", streamKey, "hex");
}

/** Hashes in hex, as the text of a `bytea[]`. */
export function toHashArray(hashes: readonly string[]): string {
  return hashes.length === 0 ? "{}" : `{"\\\\x${hashes.join('","\\\\x')}"}`;
}
