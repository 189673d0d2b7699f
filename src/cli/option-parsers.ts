import { InvalidArgumentError } from "commander";
import { Id, NewUserId, Title } from "../protocol/ids.ts";

/*
 * Parsers for the values of options and arguments. They throw InvalidArgumentError, which commander shows together with
 * the option's name.
 */

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;
/** ISO 8601 with time and zone: a date alone is a different moment in every zone. */
const MOMENT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/;
/** Up to this year PostgreSQL and JavaScript both write years with four digits. */
const LATEST_MS = Date.UTC(9999, 11, 31);

export function parseId(text: string): string {
  const result = Id.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError("An id has 1 to 128 characters.");
}

/** Parses the id of a user who gets a token or a stream. */
export function parseUserId(text: string): string {
  const id = parseId(text);
  const result = NewUserId.safeParse(id);
  if (result.success) return id;
  throw new InvalidArgumentError(`A user's id: ${result.error.issues[0]?.message}.`);
}

export function parseTitle(text: string): string {
  const result = Title.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError("A title has 1 to 500 characters.");
}

/** Makes a parser of whole seconds, from 0 to `most`. */
export function secondsUpTo(most: number): (text: string) => number {
  return (text) => {
    const seconds = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (seconds <= most) return seconds;
    throw new InvalidArgumentError(`Expected whole seconds, 0 to ${most}.`);
  };
}

/** Parses a moment in the future, given as ISO 8601 or as the time until then. @returns ISO 8601 */
export function parseExpiry(text: string): string {
  const atMs = toMoment(text);
  if (Number.isNaN(atMs)) {
    throw new InvalidArgumentError(
      "Expected a moment with its zone, such as 2027-01-31T18:00:00Z, or the time until then, such as 90m, 24h, 7d.",
    );
  }
  if (atMs > Date.now() && atMs < LATEST_MS) return new Date(atMs).toISOString();
  throw new InvalidArgumentError("Expected a moment in the future, before the end of the year 9999.");
}

function toMoment(text: string): number {
  const [, count, unit] = /^(\d+)([smhdw])$/.exec(text) ?? [];
  if (unit !== undefined) return Date.now() + Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  return MOMENT.test(text) ? Date.parse(text) : Number.NaN;
}
