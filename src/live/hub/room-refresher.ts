import type { Logger } from "../../logger.ts";
import { toEntry } from "./frame.ts";
import { LimitedQueue } from "./limited-queue.ts";
import type { Room } from "./room.ts";
import { RoomFailures } from "./room-failures.ts";
import type { RoomReader } from "./room-reader.ts";
import type { RoomViewers } from "./room-viewers.ts";

/*
 * Reads rooms anew after notifications may have been lost, a few rooms at a time. While a room is read it sends no
 * frame: rows that change meanwhile are read after its snapshot, and shown after it.
 */

const AT_ONCE = 3;
const RETRY_MS = 500;

export interface RoomRefresherParts {
  reader: RoomReader;
  viewers: RoomViewers;
  /** The room's snapshot is in its backlog, or it is to be tried again at `readableAt`. */
  onDone: (room: Room) => unknown;
  logger: Logger;
}

export class RoomRefresher {
  readonly #parts: RoomRefresherParts;
  readonly #failures: RoomFailures;
  readonly #queue = new LimitedQueue<Room>(AT_ONCE, (room) => this.#refresh(room));

  constructor(parts: RoomRefresherParts) {
    this.#parts = parts;
    this.#failures = new RoomFailures(parts.logger, { what: ["topics", "read"] });
  }

  /** Begins to read those of the rooms that are stale. A snapshot that was read is sent before the next one is read. */
  refresh(rooms: readonly Room[]): void {
    for (const room of rooms) {
      if (!room.isStale || room.isRefreshing || room.beginsAnew) continue;
      room.isStale = false;
      room.isRefreshing = true;
      void this.#queue.add(room); // never rejects
    }
  }

  async #refresh(room: Room): Promise<void> {
    const { reader, viewers, onDone } = this.#parts;
    try {
      const { entries, totals } = await reader.snapshot(room);
      // What still waits was read before the snapshot: rows among it may have been deleted since.
      room.backlog.clear();
      for (const entry of entries) room.backlog.put(entry);
      for (const viewer of viewers.of(room)) room.backlog.put(toEntry(viewer));
      room.beginsAnew = true;
      room.viewersChanged = true;
      room.totals = totals;
      room.shownTotals = totals;
      this.#failures.worked([room]);
    } catch (error) {
      this.#failures.failed([room], error);
      room.isStale = true;
      room.readableAt = performance.now() + RETRY_MS;
    }
    room.isRefreshing = false;
    onDone(room);
  }
}
