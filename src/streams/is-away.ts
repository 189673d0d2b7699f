import { toUnavailable } from "../db/unavailable.ts";

/** Whether the database is away, or takes too long: what it was asked may succeed later. */
export function isAway(error: unknown): boolean {
  return toUnavailable(error) !== error;
}
