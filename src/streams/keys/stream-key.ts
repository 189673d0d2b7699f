import { hash, randomBytes } from "node:crypto";
import { KEY_MARK, SHOWN_KEY_CHARACTERS } from "../../hide-stream-keys.ts";

/*
 * Stream keys. A key is shown once; only its hash is stored. A key is random enough that nobody can find it from a
 * plain SHA-256, so no salt is needed and a look-up is one read of an index.
 */

/** 216 bits. The prefix shows 36 of them, so 180 stay secret. */
const RANDOM_BYTES = 27;

export interface StreamKeyParts {
  streamKey: string;
  hash: Buffer;
  /** The first characters, which everybody may see. */
  prefix: string;
}

/** Makes a key from characters that every media server accepts in a stream's name (`A-Za-z0-9_-`). */
export function makeStreamKey(): StreamKeyParts {
  const streamKey = KEY_MARK + randomBytes(RANDOM_BYTES).toString("base64url");
  return { streamKey, hash: hashStreamKey(streamKey), prefix: streamKey.slice(0, SHOWN_KEY_CHARACTERS) };
}

/** SHA-256 of the key. */
export function hashStreamKey(streamKey: string): Buffer {
  return hash("sha256", streamKey, "buffer");
}

/** SHA-256 of the key in hex. */
export function hashStreamKeyToHex(streamKey: string): string {
  return hash("sha256", streamKey, "hex");
}

/** PostgreSQL's text form of a `bytea[]`, from hashes in hex. */
export function toHashArray(hashes: readonly string[]): string {
  return hashes.length === 0 ? "{}" : `{"\\\\x${hashes.join('","\\\\x')}"}`;
}
