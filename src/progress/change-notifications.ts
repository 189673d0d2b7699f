import type { CatalogueFile } from "./merge-beat.ts";

/*
 * What `notify_changes` (migration 0004) makes of changed rows, for those of a batch: the payloads of the channel
 * `progress`, U+0001 in the place of the version, which is drawn when they are sent. JSON escapes that character, so no
 * id brings another.
 */

const VERSION = "\u0001";
/** As long as a version may be, in digits. */
const VERSION_OCTETS = 16;
/** A payload must be shorter than 8,000 octets, or the whole batch rolls back. A key is shorter than 3,200. */
const PAYLOAD_OCTETS = 7000;
/** Past so many rows only their courses are told, to be read again. */
const MAX_KEYS = 2000;

export function toNotifications(changes: readonly { userId: string; file: CatalogueFile }[]): string[] {
  if (changes.length > MAX_KEYS) {
    const courses = new Set(changes.map(({ file }) => file.courseId));
    return [...courses].map((again) => JSON.stringify({ again }));
  }
  const payloads: string[] = [];
  let keys = "";
  let octets = 0;
  for (const { userId, file } of changes) {
    const key = `${headOf(file)}${JSON.stringify(userId)},${VERSION}]`;
    const keyOctets = Buffer.byteLength(key) + VERSION_OCTETS;
    if (keys !== "" && octets + keyOctets > PAYLOAD_OCTETS) {
      payloads.push(`{"keys":[${keys}]}`);
      keys = "";
      octets = 0;
    }
    keys += keys === "" ? key : `,${key}`;
    octets += keyOctets;
  }
  if (keys !== "") payloads.push(`{"keys":[${keys}]}`);
  return payloads;
}

const heads = new WeakMap<CatalogueFile, string>();

function headOf(file: CatalogueFile): string {
  let head = heads.get(file);
  if (head === undefined) {
    head = `${JSON.stringify([file.courseId, file.lessonId, file.fileId]).slice(0, -1)},`;
    heads.set(file, head);
  }
  return head;
}
