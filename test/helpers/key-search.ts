import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/*
 * Searches for stream keys where none may be: for whole keys and for pieces of their secret part, plain, in hex and in
 * base64.
 */

/** Everybody may see so many characters of a key. */
const SHOWN_CHARACTERS = 10;
/** Too long to occur by chance. */
const PIECE_CHARACTERS = 12;

function toPieces(key: string): string[] {
  const secret = key.slice(SHOWN_CHARACTERS);
  return [secret.slice(0, PIECE_CHARACTERS), secret.slice(-PIECE_CHARACTERS)];
}

function toTraces(key: string): string[] {
  const pieces = toPieces(key);
  // How a piece looks in base64 depends on its offset in the text, modulo three.
  const inBase64 = [0, 1, 2].map((skipped) => {
    const bytes = Buffer.from(key).subarray(skipped);
    return bytes.subarray(0, bytes.length - (bytes.length % 3)).toString("base64");
  });
  return [...pieces, ...pieces.map((piece) => Buffer.from(piece).toString("hex")), ...inBase64];
}

/** The keys that the text gives away, by their visible prefixes. */
export function findKeys(keys: readonly string[], text: string): string[] {
  return keys.filter((key) => toTraces(key).some((trace) => text.includes(trace))).map(toShown);
}

/** The same, each with the text before it. */
export function findLeaks(keys: readonly string[], text: string): string[] {
  return keys.flatMap((key) => {
    const at = toTraces(key)
      .map((trace) => text.indexOf(trace))
      .find((index) => index >= 0);
    return at === undefined ? [] : [`${toShown(key)} after …${text.slice(Math.max(0, at - 200), at)}`];
  });
}

/** The key's visible prefix. */
export function toShown(key: string): string {
  return key.slice(0, SHOWN_CHARACTERS);
}

/** The files below a folder that give keys away, each with the key's visible prefix. */
export async function findKeysInFiles(keys: readonly string[], folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries.filter((one) => one.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    for (const key of keys) {
      if (toPieces(key).some((piece) => bytes.includes(piece))) found.push(`${path}: ${toShown(key)}`);
    }
  }
  return found;
}
