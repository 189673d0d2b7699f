import { InvalidArgumentError } from "commander";
import { Id, Title } from "../protocol/ids.ts";

/*
 * What stands behind a command's options, as text, made into what is meant. All throw InvalidArgumentError, which
 * commander shows with the option's name.
 */

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;
/** ISO 8601 with a time and its zone: a date alone means another moment in every zone. */
const MOMENT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/;
/** PostgreSQL and JavaScript both write years up to there with four digits. */
const LATEST_MS = Date.UTC(9999, 11, 31);

export function parseId(text: string): string {
  const result = Id.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError("An id has 1 to 128 characters.");
}

export function parseTitle(text: string): string {
  const result = Title.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError("A title has 1 to 500 characters.");
}

/** A parser of whole seconds up to a limit. */
export function secondsUpTo(most: number): (text: string) => number {
  return (text) => {
    const seconds = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (seconds <= most) return seconds;
    throw new InvalidArgumentError(`Expected whole seconds, 0 to ${most}.`);
  };
}

/** A moment that is still to come, as ISO 8601: given so, or as how long it is until then. */
export function parseExpiry(text: string): string {
  const atMs = toMoment(text);
  if (Number.isNaN(atMs)) {
    throw new InvalidArgumentError(
      "Expected a moment such as 2027-01-31T18:00:00Z (with its zone), or how long it is until then, such as 90m, 24h, 7d.",
    );
  }
  if (atMs > Date.now() && atMs < LATEST_MS) return new Date(atMs).toISOString();
  throw new InvalidArgumentError("Expected a moment that is still to come, before the year 9999 is over.");
}

function toMoment(text: string): number {
  const [, count, unit] = /^(\d+)([smhdw])$/.exec(text) ?? [];
  if (unit !== undefined) return Date.now() + Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  return MOMENT.test(text) ? Date.parse(text) : Number.NaN;
}
