import { AppError } from "../errors.ts";
import { isTransient, sqlStateOf } from "./sqlstate.ts";

const QUERY_CANCELED = "57014";
const RETRY_MS = 1000;

/** Gives what a database that is away, or too slow, throws the code that callers know; everything else stays what it is. */
export function toUnavailable(error: unknown): unknown {
  if (isTransient(error)) {
    return new AppError("unavailable", "The database is away; try again.", { retryAfterMs: RETRY_MS, cause: error });
  }
  if (sqlStateOf(error) === QUERY_CANCELED) {
    return new AppError("unavailable", "The database took too long; try again.", {
      retryAfterMs: RETRY_MS,
      cause: error,
    });
  }
  return error;
}
