import { ConfigError } from "../config.ts";
import { isConnectionError, isStorageFault, sqlStateOf } from "../db/sqlstate.ts";
import { AppError } from "../errors.ts";

/** The text for a person at the command line: an expected failure's message, or an unexpected error's stack. */
export function explainFailure(error: unknown): string {
  if (error instanceof AppError || error instanceof ConfigError) {
    return error.message;
  }
  if (isConnectionError(error) && !isStorageFault(error)) {
    return `The database cannot be reached: ${listMessages(error).join("; ")}`;
  }
  if (sqlStateOf(error) !== undefined) {
    return `The database answered: ${(error as Error).message}`;
  }
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function listMessages(error: unknown): string[] {
  // Node tries every address of a host name. The error that collects their failures has no message of its own.
  return error instanceof AggregateError ? error.errors.flatMap(listMessages) : [(error as Error).message];
}
