import { z } from "zod";
import { AppError } from "../errors.ts";

/** Where a page ended: the last row's value in the order of the list, and its id. */
export interface Place {
  value: string;
  id: string;
}

const Place: z.ZodType<Place> = z.object({ value: z.string(), id: z.string() });

/** The place as clients carry it. They must not read it: the order of a list may change. */
export function toCursor(place: Place): string {
  return Buffer.from(JSON.stringify(place)).toString("base64url");
}

/** @throws AppError `bad_request` if the text is no cursor */
export function parseCursor(text: string): Place {
  try {
    return Place.parse(JSON.parse(Buffer.from(text, "base64url").toString()));
  } catch {
    throw badCursor();
  }
}

/**
 * Waits for a page that begins at a cursor. Only the database can tell whether the cursor's value is of the type that the
 * list is ordered by.
 * @throws AppError `bad_request` if it is not
 */
export async function seek<T>(page: Promise<T>): Promise<T> {
  try {
    return await page;
  } catch (error) {
    throw isDataException(error) ? badCursor() : error;
  }
}

/** Class 22 of https://www.postgresql.org/docs/18/errcodes-appendix.html: a value that its type cannot hold. */
function isDataException(error: unknown): boolean {
  return String((error as { code?: unknown }).code).startsWith("22");
}

function badCursor(): AppError {
  return new AppError("bad_request", "`after` is no cursor of this list; pass the `next` of the page before.");
}
