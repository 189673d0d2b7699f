import { z } from "zod";

/*
 * The texts of everything on the wire. A text from outside that the database may see has one of these schemas.
 */

/** The longest id that the tables hold, in characters (Unicode code points). */
export const MAX_ID_CHARACTERS = 128;

/** Whether PostgreSQL can store the text, and orders it as JavaScript does: no U+0000, no lone surrogate. */
export function isStorableText(text: string): boolean {
  return !text.includes("\u0000") && text.isWellFormed();
}

/** A text that PostgreSQL can store. */
export const StorableText = z.string().refine(isStorableText, { error: "expected no U+0000 and no lone surrogate" });

/** A text that is stored, of at most so many characters. It may be empty. */
export const Text = (maxCharacters: number) => StorableText.max(maxCharacters);

function isWithinLength(text: string): boolean {
  return (
    text.length <= MAX_ID_CHARACTERS || (text.length <= 2 * MAX_ID_CHARACTERS && [...text].length <= MAX_ID_CHARACTERS)
  );
}

/** An id of a user, file, lesson, course or session: 1 to 128 characters without U+0000 or lone surrogates. */
export const Id = StorableText.min(1).refine(isWithinLength, {
  error: `expected at most ${MAX_ID_CHARACTERS} characters`,
});

/**
 * An id that somebody gives to something new: URLs drop the segments `.` and `..`, so it would have no address. Reads take
 * any `Id`.
 */
export const NewId = Id.refine((text) => text !== "." && text !== "..", {
  error: 'expected an id other than "." and "..", which have no address over HTTP',
});

/**
 * The id of a new course, or of a user. With `/user:` in it, a learner's topic, `course:<id>/user:<id>`, would have a name
 * that can be read in two ways.
 */
export const NewCourseId = NewId.refine((text) => !text.includes("/user:"), {
  error: "expected an id without `/user:`, which separates the course from the learner in the name of a topic",
});
export const NewUserId = NewCourseId;

/** A title for people to read: up to 500 characters. */
export const Title = StorableText.trim().min(1).max(500);
