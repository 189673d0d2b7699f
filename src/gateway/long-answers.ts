import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "../errors.ts";
import { type BufferedConnection, bufferedBytes } from "./buffered-bytes.ts";

/*
 * Long answers of one connection go out one after another, each when the client has read the one before. So at most one of
 * them waits in the connection's buffer, and the buffer stays below the limit past which messages would be dropped.
 */

/** A connection with so few bytes waiting has as good as read everything. */
const READ_BYTES = 64 * 1024;
const LOOK_MS = 20;
/** A client that has not read the answers before within this time is told to ask again. */
const PATIENCE_MS = 60_000;
/** Long answers that may wait for one connection: each is held in memory meanwhile. */
const MAX_WAITING = 8;

export class LongAnswers {
  readonly #queues = new WeakMap<object, { last: Promise<void>; waiting: number }>();

  /**
   * Calls `give` when the connection has room, and at once where it has closed.
   * @throws AppError `overloaded` if too many wait, or the client does not read; the error of `give`
   */
  async give(connection: BufferedConnection, give: () => Promise<void>): Promise<void> {
    const queue = this.#queues.get(connection) ?? { last: Promise.resolve(), waiting: 0 };
    if (queue.waiting >= MAX_WAITING) throw unread();
    this.#queues.set(connection, queue);
    queue.waiting += 1;
    const turn = queue.last.then(async () => {
      await untilRead(connection);
      await give();
    });
    queue.last = turn.catch(() => undefined); // its caller gets the error
    try {
      await turn;
    } finally {
      queue.waiting -= 1;
    }
  }
}

async function untilRead(connection: BufferedConnection): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (bufferedBytes(connection) > READ_BYTES) {
    if (performance.now() > deadline) throw unread();
    await delay(LOOK_MS, undefined, { ref: false });
  }
}

function unread(): AppError {
  return new AppError("overloaded", "Earlier long answers wait to be read; read them, then ask again.", {
    retryAfterMs: 1000,
  });
}
