import { toUnavailable } from "../db/unavailable.ts";
import { withinTime } from "../within-time.ts";

/** Every caller is answered within this time, whatever the database does: nginx gives up after 10 s and drops its encoder. */
export const ANSWER_MS = 3000;

/** The database did not answer within ANSWER_MS. Its code is one for which `isAway` is true. */
export class DatabaseLate extends Error {
  readonly code = "ETIMEDOUT";
  constructor() {
    super(`the database has not answered within ${ANSWER_MS} ms`);
  }
}

/** Waits at most ANSWER_MS for the work; the work itself goes on. @throws DatabaseLate */
export function answered<T>(work: Promise<T>): Promise<T> {
  return withinTime(work, ANSWER_MS, () => new DatabaseLate());
}

/** Whether the error says that the database is away or too slow: the same work may succeed later. */
export function isAway(error: unknown): boolean {
  return toUnavailable(error) !== error;
}
