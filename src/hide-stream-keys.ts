/*
 * Texts from outside may contain a stream key: a user pastes an encoder's whole address into the wrong field, or an error
 * quotes the text that it could not read. Before such a text is stored, logged or answered, its keys are shortened here.
 */

/** The first characters of every key, by which a key is recognized in any text. */
export const KEY_MARK = "phk_";
/** How many characters of a key everybody may see, to tell keys apart. */
export const SHOWN_KEY_CHARACTERS = KEY_MARK.length + 6;

const KEY = new RegExp(`(${KEY_MARK}[\\w-]{${SHOWN_KEY_CHARACTERS - KEY_MARK.length}})[\\w-]+`, "g");

/** The text, with every key in it shortened to its prefix. */
export function hideStreamKeys(text: string): string {
  return text.replace(KEY, "$1…");
}
