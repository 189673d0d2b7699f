import type { Metrics } from "../../metrics/metrics.ts";
import type { Batch } from "./backlog.ts";
import type { Frame } from "./frame.ts";
import type { Member } from "./member.ts";
import type { Outlet } from "./outlet.ts";
import type { Room } from "./room.ts";
import { SLOW_BYTES, type SlowMembers } from "./slow-members.ts";

/*
 * Publishes a room's frame once for all members that keep up.
 *
 * uWebSockets.js drops frames in silence when a socket's buffer is past MAX_BACKPRESSURE_BYTES (256 KB or more), so
 * buffers have to be looked at; but to look at every buffer at every frame costs as much as to send a small frame. So a
 * room looks at its members in turn, at each before the room has published so much that the buffer could be full.
 */

/** What all rooms of a member together may publish between two looks at its buffer. With SLOW_BYTES and a frame: below 256 KB. */
const UNSEEN_BYTES = 60 * 1024;
/** A room of up to this many members looks at all of them at every frame. */
const FEW_MEMBERS = 4;
/** What is around a frame's entries, at most: name, time, sums, and the headers of the protocols. */
const AROUND_BYTES = 1200;

export class LevelMembers {
  readonly #outlet: Outlet;
  readonly #slow: SlowMembers;
  readonly #metrics: Pick<Metrics, "deliveries">;
  #turn = 0;
  /** Deliveries of this turn, counted together: to count each costs as much as a small frame. */
  #delivered = 0;

  constructor(parts: { outlet: Outlet; slow: SlowMembers; metrics: Pick<Metrics, "deliveries"> }) {
    this.#outlet = parts.outlet;
    this.#slow = parts.slow;
    this.#metrics = parts.metrics;
  }

  /** Bytes that are published in a turn show in the buffers only when the turn is over. */
  beginTurn(): void {
    this.#turn += 1;
  }

  endTurn(): void {
    if (this.#delivered > 0) this.#metrics.deliveries.inc(this.#delivered);
    this.#delivered = 0;
  }

  /** Publishes a frame to the level members, and keeps it for the others. */
  broadcast(room: Room, batch: Batch, frame: Frame): void {
    this.#look(room, batch.bytes + AROUND_BYTES);
    for (const member of room.alone) member.keep(batch.entries, frame);
    const level = room.members.size - room.alone.size;
    if (level === 0) return;
    this.#delivered += level;
    this.#outlet.broadcast(room.name, frame.text);
  }

  #look(room: Room, frameBytes: number): void {
    const { size } = room.members;
    // Within UNSEEN_BYTES each member has its turn once.
    room.owedLooks += (size * frameBytes * room.mostTopics) / UNSEEN_BYTES;
    const looks = size <= FEW_MEMBERS ? size : Math.min(size, Math.floor(room.owedLooks));
    room.owedLooks = looks === size ? 0 : room.owedLooks - looks;
    for (let i = looks; i > 0; i--) this.#lookAt(room, room.nextMember(), frameBytes);
  }

  #lookAt(room: Room, member: Member, frameBytes: number): void {
    if (member.mode !== "level") return;
    const { handed } = member;
    if (handed.turn !== this.#turn) {
      handed.turn = this.#turn;
      handed.bytes = 0;
    }
    if (member.subscriber.bufferedBytes() + handed.bytes > SLOW_BYTES) this.#slow.takeOver(room, member);
    else handed.bytes += frameBytes;
  }
}
