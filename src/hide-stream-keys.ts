/*
 * Stream keys in texts of others: an encoder's whole address in the wrong field, a message that quotes what it could
 * not read. What is kept, logged or answered of such a text has no more of a key than everybody may see.
 */

/** What every key begins with, so that it is known for one wherever it stands. */
export const KEY_MARK = "phk_";
/** What may be shown of a key, to tell keys apart. */
export const SHOWN_KEY_CHARACTERS = KEY_MARK.length + 6;

const KEY = new RegExp(`(${KEY_MARK}[\\w-]{${SHOWN_KEY_CHARACTERS - KEY_MARK.length}})[\\w-]+`, "g");

/** The text with nothing of keys but their prefix. */
export function hideStreamKeys(text: string): string {
  return text.replace(KEY, "$1…");
}
