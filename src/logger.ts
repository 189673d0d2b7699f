import { type Logger, pino } from "pino";

export type { Logger } from "pino";

/** Logs go to standard error: standard output carries the one line that says where the server listens. */
export function createLogger(options: { level: string }): Logger {
  return pino(
    {
      level: options.level,
      base: null,
      redact: ["token", "*.token", "password", "*.password", "streamKey", "*.streamKey", "secret", "*.secret"],
    },
    pino.destination({ dest: 2, sync: true }),
  );
}
