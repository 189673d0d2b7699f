import type { Config } from "../config.ts";
import type { Logger } from "../logger.ts";

/** The configuration of a command, and its logger. */
export interface Setting {
  config: Config;
  logger: Logger;
}

/** What main.ts gives every command. */
export interface CommandParts {
  /** @throws ConfigError */
  readSetting(): Setting;
  /** Prints the result that the user asked for, to standard output. */
  print(line: string): void;
  /** Prints anything else that the user should know, to standard error. */
  note(line: string): void;
}
