import { type Logger, pino } from "pino";
import { hideStreamKeys } from "./hide-stream-keys.ts";

export type { Logger } from "pino";

/** Makes the logger. Logs go to standard error, because standard output carries the results of commands. */
export function createLogger(options: { level: string }): Logger {
  return pino(
    {
      level: options.level,
      base: null,
      serializers: { err: toLoggedError },
      redact: ["token", "*.token", "password", "*.password", "streamKey", "*.streamKey", "secret", "*.secret"],
      // For every line, because an error may quote the text that it could not read, and PostgreSQL the row that it refused.
      hooks: { streamWrite: hideStreamKeys },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Picks the fields of an error that are logged: `pg` attaches its whole client, with all statements, to some errors. */
function toLoggedError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack, cause } = error;
  const { code, detail } = error as { code?: unknown; detail?: unknown };
  return {
    name,
    message,
    code,
    ...(quotesRow(code) ? {} : { detail }),
    stack,
    ...(cause === undefined ? {} : { cause: toLoggedError(cause) }),
  };
}

/** PostgreSQL quotes rows, and so the names of users, in the details of what a value or a constraint refuses (classes 22 and 23). */
function quotesRow(sqlState: unknown): boolean {
  return typeof sqlState === "string" && /^2[23]...$/.test(sqlState);
}
