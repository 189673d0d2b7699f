import { z } from "zod";

/*
 * The numbers and instants of everything on the wire that the database keeps. Each is rounded as the database rounds it
 * before it is compared with anything: so no value passes here that a check of a table refuses.
 */

/** Positions are stored as 32-bit milliseconds: 596 hours. */
export const MAX_POSITION_SECONDS = 2_147_483;

/** A number that is rounded to so many digits after the point. */
function rounded(digits: number) {
  const factor = 10 ** digits;
  return z.number().overwrite((value) => Math.round(value * factor) / factor);
}

/** A place in a file or a length of it: seconds, to the millisecond. */
export const MediaSeconds = rounded(3).min(0).max(MAX_POSITION_SECONDS);

/** A length that is not nothing. */
export const MediaLength = rounded(3).gt(0).max(MAX_POSITION_SECONDS);

/** A share above 0 and up to 1, with the five digits that the tables keep. */
export const Share = rounded(5).gt(0).max(1);

/** The years that both JavaScript and PostgreSQL write with four digits. */
const FIRST_MS = Date.parse("0001-01-01T00:00:00.000Z");
const LAST_MS = Date.parse("9999-12-31T23:59:59.999Z");

function isStorableInstant(text: string): boolean {
  const ms = Date.parse(text);
  return ms >= FIRST_MS && ms <= LAST_MS;
}

/** A moment, ISO 8601 with any offset. It becomes UTC here, because PostgreSQL refuses offsets of 16 hours and more. */
export const Instant = z.iso
  .datetime({ offset: true })
  .refine(isStorableInstant, { error: "expected a moment in the years 1 to 9999", abort: true })
  .overwrite((text) => new Date(text).toISOString());
