import { z } from "zod";

/** The longest id, in characters (Unicode code points), as the tables hold it. */
export const MAX_ID_CHARACTERS = 128;

/** What PostgreSQL can hold as text and both sides order alike: no U+0000, no lone surrogate. */
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

/** A title a person reads: up to 500 characters. */
export const Title = z.string().trim().min(1).max(500).refine(isStorableText, {
  error: "expected no U+0000 and no lone surrogate",
});
