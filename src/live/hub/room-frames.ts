import type { Logger } from "../../logger.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import { toFrame } from "./frame.ts";
import { inGroupsOf } from "./groups.ts";
import type { LevelMembers } from "./level-members.ts";
import type { Room } from "./room.ts";
import { RoomFailures } from "./room-failures.ts";
import type { RoomReader } from "./room-reader.ts";
import type { RoomRefresher } from "./room-refresher.ts";
import type { RoomViewers } from "./room-viewers.ts";
import type { SlowMembers } from "./slow-members.ts";
import type { TotalsReader } from "./totals-reader.ts";

const READ_RETRY_MS = 500;
/** While the frames of so many rooms go out, the database reads those of the next. */
const PORTION = 200;

export interface RoomFramesParts {
  reader: RoomReader;
  refresher: RoomRefresher;
  totals: TotalsReader;
  viewers: RoomViewers;
  level: LevelMembers;
  slow: SlowMembers;
  metrics: Pick<Metrics, "frames">;
  logger: Logger;
}

/** A turn of the frame clock: reads the changed rows of the rooms that are due, and sends each room its frame. */
export class RoomFrames {
  readonly #parts: RoomFramesParts;
  readonly #failures: RoomFailures;
  readonly #unsent: RoomFailures;
  readonly #unserved: RoomFailures;

  constructor(parts: RoomFramesParts) {
    this.#parts = parts;
    this.#failures = new RoomFailures(parts.logger, { what: ["changed rows", "read"] });
    this.#unsent = new RoomFailures(parts.logger, { what: ["frames", "sent"], level: "error" });
    this.#unserved = new RoomFailures(parts.logger, { what: ["frames of slow readers", "sent"], level: "error" });
  }

  /** Also serves the members of `active` rooms that are served alone. Never rejects. */
  async send(due: readonly Room[], active: Iterable<Room>): Promise<void> {
    const { refresher, level, metrics } = this.#parts;
    refresher.refresh(due);
    const portions = inGroupsOf(
      PORTION,
      due.filter(({ isRefreshing }) => !isRefreshing),
    );
    level.beginTurn();
    let reading = this.#read(portions[0] ?? []);
    let frames = 0;
    for (const [i, rooms] of portions.entries()) {
      await reading;
      reading = this.#read(portions[i + 1] ?? []);
      for (const room of rooms) if (this.#sendFrame(room)) frames += 1;
    }
    metrics.frames.inc(frames);
    for (const room of active) if (room.alone.size > 0) this.#serveAlone(room);
    level.endTurn();
  }

  #serveAlone(room: Room): void {
    try {
      this.#parts.slow.serveAll(room);
      this.#unserved.worked([room]);
    } catch (error) {
      this.#unserved.failed([room], error);
    }
  }

  async #read(rooms: readonly Room[]): Promise<void> {
    await Promise.all([this.#readChanges(rooms), this.#parts.totals.readDue(rooms)]);
  }

  async #readChanges(rooms: readonly Room[]): Promise<void> {
    try {
      await this.#parts.reader.readChanges(rooms);
      this.#failures.worked(rooms);
    } catch (error) {
      this.#failures.failed(rooms, error);
      // Presence goes out all the same.
      for (const room of rooms) room.readableAt = performance.now() + READ_RETRY_MS;
    }
  }

  /** Never throws. @returns whether there was anything to send */
  #sendFrame(room: Room): boolean {
    if (!room.isOwed) return false;
    const { viewers, level } = this.#parts;
    // A room whose frame fails must not keep back the frames of the others. What was lost is read again.
    try {
      const batch = room.backlog.take();
      const frame = toFrame(room, room, batch.entries, room.viewersChanged ? viewers.count(room) : null);
      room.lastFrameAt = performance.now();
      level.broadcast(room, batch, frame);
      this.#unsent.worked([room]);
    } catch (error) {
      room.isStale = true;
      room.readableAt = performance.now() + READ_RETRY_MS;
      this.#unsent.failed([room], error);
    }
    return true;
  }
}
