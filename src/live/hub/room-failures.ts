import type { Logger } from "../../logger.ts";
import type { Room } from "./room.ts";

/*
 * Logs that something cannot be done for rooms: one line when the first one fails, and one when none is left that fails.
 * It is tried several times a second, and in an outage every room fails.
 */

export interface RoomFailuresOptions {
  /** What is done to what, for the log: ["changed rows", "read"]. */
  what: readonly [things: string, done: string];
  /** `error` where only a defect makes it fail. */
  level?: "warn" | "error";
}

export class RoomFailures {
  readonly #logger: Logger;
  readonly #options: RoomFailuresOptions;
  readonly #failing = new Set<Room>();
  #since = 0;

  constructor(logger: Logger, options: RoomFailuresOptions) {
    this.#logger = logger;
    this.#options = options;
  }

  failed(rooms: readonly Room[], error: unknown): void {
    const { what, level = "warn" } = this.#options;
    this.#forgetClosed();
    const isFirst = this.#failing.size === 0;
    if (isFirst) this.#since = performance.now();
    for (const room of rooms) this.#failing.add(room);
    this.#logger[isFirst ? level : "debug"](
      { err: error, topic: rooms[0]?.name },
      `${what[0]} could not be ${what[1]}; they will be tried again`,
    );
  }

  worked(rooms: readonly Room[]): void {
    if (this.#failing.size === 0) return;
    for (const room of rooms) this.#failing.delete(room);
    this.#forgetClosed();
    if (this.#failing.size > 0) return;
    const { what } = this.#options;
    const seconds = Math.round((performance.now() - this.#since) / 1000);
    this.#logger.info({ seconds }, `${what[0]} are ${what[1]} again`);
  }

  /** A room that nobody watches any more is not tried again. */
  #forgetClosed(): void {
    for (const room of this.#failing) if (room.members.size === 0) this.#failing.delete(room);
  }
}
