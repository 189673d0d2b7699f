import type { Logger } from "../../logger.ts";
import type { Room } from "./room.ts";

/*
 * Logs that rooms cannot be read: one line when the first one fails, and one when none is left that fails. What cannot be
 * read is tried several times a second, and in an outage every room fails.
 */

export class ReadFailures {
  readonly #logger: Logger;
  readonly #what: string;
  readonly #failing = new Set<Room>();
  #since = 0;

  /** `what` is read, for the log: "changed rows". */
  constructor(logger: Logger, what: string) {
    this.#logger = logger;
    this.#what = what;
  }

  failed(rooms: readonly Room[], error: unknown): void {
    this.#forgetClosed();
    const isFirst = this.#failing.size === 0;
    if (isFirst) this.#since = performance.now();
    for (const room of rooms) this.#failing.add(room);
    this.#logger[isFirst ? "warn" : "debug"](
      { err: error, topic: rooms[0]?.name },
      `${this.#what} could not be read; they will be tried again`,
    );
  }

  worked(rooms: readonly Room[]): void {
    if (this.#failing.size === 0) return;
    for (const room of rooms) this.#failing.delete(room);
    this.#forgetClosed();
    if (this.#failing.size > 0) return;
    const seconds = Math.round((performance.now() - this.#since) / 1000);
    this.#logger.info({ seconds }, `${this.#what} are read again`);
  }

  /** A room that nobody watches any more is not tried again. */
  #forgetClosed(): void {
    for (const room of this.#failing) if (room.members.size === 0) this.#failing.delete(room);
  }
}
