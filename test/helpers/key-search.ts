import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/*
 * Looks for stream keys where none may be: whole, or a piece of what nobody is shown, as it is, in hex or in base64.
 */

/** What everybody may see of a key. */
const SHOWN_CHARACTERS = 10;
/** Too long to be there by chance. */
const PIECE_CHARACTERS = 12;

function toPieces(key: string): string[] {
  const secret = key.slice(SHOWN_CHARACTERS);
  return [secret.slice(0, PIECE_CHARACTERS), secret.slice(-PIECE_CHARACTERS)];
}

function toTraces(key: string): string[] {
  const pieces = toPieces(key);
  // Base64 of a text depends on where in it the piece stands, by three.
  const inBase64 = [0, 1, 2].map((skipped) => {
    const bytes = Buffer.from(key).subarray(skipped);
    return bytes.subarray(0, bytes.length - (bytes.length % 3)).toString("base64");
  });
  return [...pieces, ...pieces.map((piece) => Buffer.from(piece).toString("hex")), ...inBase64];
}

/** Which of the keys the text gives away, by what may be shown of them. */
export function findKeys(keys: readonly string[], text: string): string[] {
  return keys.filter((key) => toTraces(key).some((trace) => text.includes(trace))).map(toShown);
}

/** The same, with what stands before each. */
export function findLeaks(keys: readonly string[], text: string): string[] {
  return keys.flatMap((key) => {
    const at = toTraces(key)
      .map((trace) => text.indexOf(trace))
      .find((index) => index >= 0);
    return at === undefined ? [] : [`${toShown(key)} after …${text.slice(Math.max(0, at - 200), at)}`];
  });
}

/** What may be shown of it. */
export function toShown(key: string): string {
  return key.slice(0, SHOWN_CHARACTERS);
}

/** The files below a folder that give keys away, and which. */
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
