import { withinTime } from "../within-time.ts";

/** An answer is due by then, whatever the database does: nginx gives up after 10 s, and its encoder with it. */
export const ANSWER_MS = 3000;

/** Counts as a database that is away. */
export class Late extends Error {
  readonly code = "ETIMEDOUT";
  constructor() {
    super(`the database has not answered within ${ANSWER_MS} ms`);
  }
}

/** @throws Late when time is up; the work goes on */
export function answered<T>(work: Promise<T>): Promise<T> {
  return withinTime(work, ANSWER_MS, () => new Late());
}
