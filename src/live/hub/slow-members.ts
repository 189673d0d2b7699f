import type { Logger } from "../../logger.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import { toEntry, toFrame } from "./frame.ts";
import type { Member } from "./member.ts";
import type { Room } from "./room.ts";
import { RoomFailures } from "./room-failures.ts";
import type { RoomReader } from "./room-reader.ts";
import type { RoomViewers } from "./room-viewers.ts";

/*
 * Serves members that the room's frames do not reach: those that read slowly, and those that have just come. Each has a
 * backlog with one state a key, and is level again when that is sent and its buffer has emptied.
 */

/** A member whose buffer holds more is served alone, and gets nothing before the buffer holds less than half as much. */
export const SLOW_BYTES = 128 * 1024;
/** A member's own frame that follows the room's within this time counts as one with it. */
const TOGETHER_MS = 20;
/** A buffer that has not emptied for so long belongs to a client that does not read. */
const STUCK_MS = 30_000;
const READ_RETRY_MS = 500;

export interface SlowMembersParts {
  reader: RoomReader;
  viewers: RoomViewers;
  /** The room has something to do then, by the monotonic clock. */
  wakeAt: (room: Room, at: number) => void;
  metrics: Pick<Metrics, "deliveries" | "slowSockets">;
  logger: Logger;
}

export class SlowMembers {
  readonly #parts: SlowMembersParts;
  readonly #failures: RoomFailures;
  readonly #frameIntervalMs: number;

  constructor(parts: SlowMembersParts, { frameIntervalMs }: { frameIntervalMs: number }) {
    this.#parts = parts;
    this.#failures = new RoomFailures(parts.logger, { what: ["snapshots for slow readers", "read"] });
    this.#frameIntervalMs = frameIntervalMs;
  }

  /** A level member's buffer is too full: it gets no more of the room's frames. */
  takeOver(room: Room, member: Member): void {
    member.subscriber.leave(room.name);
    room.setMode(member, "alone");
    this.#markStuck(member);
  }

  /** Sends the member nothing until the snapshot that is about to be read has been sent. */
  hold(room: Room, member: Member): void {
    if (member.mode === "level") member.subscriber.leave(room.name);
    room.setMode(member, "holding");
    member.giveUp();
  }

  /** The member left its room. */
  forget(member: Member): void {
    this.#markFree(member);
  }

  serveAll(room: Room): void {
    for (const member of room.alone) if (member.mode === "alone") this.serve(room, member);
  }

  /** Sends a member the next frame of its backlog, if its buffer has room. When nothing is left the member is level. */
  serve(room: Room, member: Member): void {
    const now = performance.now();
    if (member.subscriber.bufferedBytes() > SLOW_BYTES / 2) {
      this.#markStuck(member);
      if (now - (member.stuckSince ?? now) > STUCK_MS) member.subscriber.disconnect("slow_consumer");
      return;
    }
    this.#markFree(member);
    if (member.isLost) {
      void this.#readAnew(room, member); // never rejects
      return;
    }
    if (now < member.nextFrameAt) return;
    if (member.isOwed) this.#sendFrame(room, member);
    if (member.backlog.size > 0) return;
    // If it joined earlier, it would get the room's next frame too soon after its own.
    if (now < member.nextFrameAt && room.lastFrameAt + this.#frameIntervalMs < member.nextFrameAt) return;
    room.setMode(member, "level");
    member.subscriber.join(room.name);
  }

  #sendFrame(room: Room, member: Member): void {
    const { viewers, metrics } = this.#parts;
    const { entries } = member.backlog.take();
    member.subscriber.send(toFrame(room, member, entries, viewers.count(room)).text);
    metrics.deliveries.inc();
    const now = performance.now(); // not before the frame is dated
    // Right after the room's frame the member may join at once: the room's next frame comes late enough for it.
    if (now - room.lastFrameAt < TOGETHER_MS) room.lastFrameAt = now;
    member.nextFrameAt = now + this.#frameIntervalMs;
  }

  /** Gives a member whose backlog was given up a whole snapshot. */
  async #readAnew(room: Room, member: Member): Promise<void> {
    const { reader, viewers, wakeAt } = this.#parts;
    this.hold(room, member);
    const { snapshotsBegun } = member;
    const isCurrent = () =>
      room.members.get(member.subscriber.id) === member && member.snapshotsBegun === snapshotsBegun;
    let failed = false;
    try {
      const { entries, totals } = await reader.snapshot(room);
      this.#failures.worked([room]);
      if (!isCurrent()) return; // it left, or has subscribed anew
      member.beginAnew([...entries, ...viewers.of(room).map(toEntry)], totals);
      room.shownTotals = null;
    } catch (error) {
      this.#failures.failed([room], error);
      failed = true;
    }
    if (!isCurrent()) return;
    if (failed) member.isLost = true;
    room.setMode(member, "alone");
    wakeAt(room, performance.now() + (failed ? READ_RETRY_MS : 0));
  }

  #markStuck(member: Member): void {
    if (member.stuckSince !== null) return;
    member.stuckSince = performance.now();
    this.#parts.metrics.slowSockets.inc();
  }

  #markFree(member: Member): void {
    if (member.stuckSince === null) return;
    member.stuckSince = null;
    this.#parts.metrics.slowSockets.dec();
  }
}
