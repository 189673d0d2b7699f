import { type Logger, pino } from "pino";
import { hideStreamKeys } from "./hide-stream-keys.ts";

export type { Logger } from "pino";

/** Logs go to standard error: standard output carries the one line that says where the server listens. */
export function createLogger(options: { level: string }): Logger {
  return pino(
    {
      level: options.level,
      base: null,
      serializers: { err: toLoggedError },
      redact: ["token", "*.token", "password", "*.password", "streamKey", "*.streamKey", "secret", "*.secret"],
      // Whatever line it is: an error may quote what it could not read, and PostgreSQL the row that it refused.
      hooks: { streamWrite: hideStreamKeys },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** What is said of an error: `pg` hangs its whole client on some, statements and all. */
function toLoggedError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack, cause } = error;
  const { code, detail } = error as { code?: unknown; detail?: unknown };
  return { name, message, code, detail, stack, ...(cause === undefined ? {} : { cause: toLoggedError(cause) }) };
}
