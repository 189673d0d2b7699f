import { AppError } from "../errors.ts";
import { isTransient, sqlStateOf } from "./sqlstate.ts";

const QUERY_CANCELED = "57014";
const RETRY_MS = 1000;

/** Turns the error of a database that is away or too slow into `unavailable`. Returns any other error as it is. */
export function toUnavailable(error: unknown): unknown {
  const unavailable = (message: string) =>
    new AppError("unavailable", message, { retryAfterMs: RETRY_MS, cause: error });
  if (isTransient(error)) return unavailable("The database is away; try again.");
  if (sqlStateOf(error) === QUERY_CANCELED) return unavailable("The database took too long; try again.");
  return error;
}
