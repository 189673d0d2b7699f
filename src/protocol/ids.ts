import { z } from "zod";

/** The longest id that the tables hold, in characters (Unicode code points). */
export const MAX_ID_CHARACTERS = 128;

/** Whether PostgreSQL can store the text, and orders it as JavaScript does: no U+0000, no lone surrogate. */
export function isStorableText(text: string): boolean {
  return !text.includes("\u0000") && text.isWellFormed();
}

function isWithinLength(text: string): boolean {
  return (
    text.length <= MAX_ID_CHARACTERS || (text.length <= 2 * MAX_ID_CHARACTERS && [...text].length <= MAX_ID_CHARACTERS)
  );
}

/** An id of a user, file, lesson, course or session: 1 to 128 characters without U+0000 or lone surrogates. */
export const Id = z
  .string()
  .min(1)
  .refine(isWithinLength, { error: `expected at most ${MAX_ID_CHARACTERS} characters` })
  .refine(isStorableText, { error: "expected no U+0000 and no lone surrogate" });

/** A title for people to read: up to 500 characters. */
export const Title = z.string().trim().min(1).max(500).refine(isStorableText, {
  error: "expected no U+0000 and no lone surrogate",
});
