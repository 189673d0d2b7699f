import { AppError } from "../errors.ts";
import { isStorageFault, isTransient, OUTCOME_UNKNOWN, sqlStateOf } from "./sqlstate.ts";

/** SQLSTATE of `begin_anew`: the user was deleted, and has not come back. */
export const USER_DELETED = "PH003";
const QUERY_CANCELED = "57014";
const RETRY_MS = 1000;

/** Turns the error of a database that is away, too slow or full into `unavailable`, and of a user who was deleted into `not_found`. Returns any other error as it is. */
export function toUnavailable(error: unknown): unknown {
  const unavailable = (message: string) =>
    new AppError("unavailable", message, { retryAfterMs: RETRY_MS, cause: error });
  if (isStorageFault(error)) return unavailable("The database cannot store anything now; try again.");
  if (sqlStateOf(error) === OUTCOME_UNKNOWN) {
    return unavailable("The database could not confirm that the change is safe; try again.");
  }
  if (isTransient(error)) return unavailable("The database is away; try again.");
  if (sqlStateOf(error) === QUERY_CANCELED) return unavailable("The database took too long; try again.");
  if (sqlStateOf(error) === USER_DELETED) return new AppError("not_found", "This user was deleted.", { cause: error });
  return error;
}
