import { ConfigError } from "../config.ts";
import { isConnectionError, sqlStateOf } from "../db/sqlstate.ts";
import { AppError } from "../errors.ts";

/** What a person at the command line is told: the message of what may be expected, the stack of what may not. */
export function explainFailure(error: unknown): string {
  if (error instanceof AppError || error instanceof ConfigError) {
    return error.message;
  }
  if (isConnectionError(error)) {
    return `The database cannot be reached: ${listMessages(error).join("; ")}`;
  }
  if (sqlStateOf(error) !== undefined) {
    return `The database answered: ${(error as Error).message}`;
  }
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function listMessages(error: unknown): string[] {
  // Node tries every address of a name, and puts the failures together without a message of their own.
  return error instanceof AggregateError ? error.errors.flatMap(listMessages) : [(error as Error).message];
}
