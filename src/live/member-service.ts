import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Present } from "../protocol/dashboard.ts";
import type { Batch } from "./backlog.ts";
import { type Frame, toEntry, toFrame } from "./frame.ts";
import type { Outlet } from "./outlet.ts";
import { beginAnew, keepFor, type Member, type Room, type Subscriber } from "./room.ts";
import type { RoomReader } from "./room-reader.ts";

/*
 * Sees to it that every member gets what its room shows. Level members get the room's frames, published once for all;
 * one that is slow is served alone, from a backlog that keeps one state a key, until it is level again.
 *
 * What a socket cannot take is dropped in silence past MAX_BACKPRESSURE_BYTES (256 KB at the least), so the buffers have to be
 * looked at; but not all of them at every frame, which would cost as much as small frames do. A room looks at its
 * members by turns, at each of them before it has published so much since the last time that the buffer could be full.
 */

export interface MemberServiceParts {
  outlet: Outlet;
  reader: RoomReader;
  viewersOf: (room: Room) => Present[];
  countViewers: (room: Room) => number;
  /** The room has something to do then, by the monotonic clock. */
  wakeAt: (room: Room, at: number) => void;
  metrics: Metrics;
  logger: Logger;
}

/** Above it a member is served alone; below half of it, again. */
const SLOW_BYTES = 128 * 1024;
/** What all rooms of a member together may publish between two looks at its buffer. With the above, and a frame, it stays below 256 KB. */
const UNSEEN_BYTES = 60 * 1024;
/** Of a small room every member is looked at, at every frame. */
const LOOKS_A_FRAME = 16;
/** What a frame is, beside its entries, at the most: name, time, sums, and what protocols put before it. */
const AROUND_BYTES = 1200;
/** A member's own frame that follows the room's so closely counts as one with it. */
const TOGETHER_MS = 20;
/** A buffer that has not emptied for so long belongs to nobody who reads. */
const STUCK_MS = 30_000;
const READ_RETRY_MS = 500;

export class MemberService {
  readonly #parts: MemberServiceParts;
  readonly #frameIntervalMs: number;
  /** Bytes published in this turn, by subscriber: they show in its buffer only when the turn is over. */
  readonly #handed = new Map<string, number>();
  /** In this turn, not counted yet: one by one that costs as much as a small frame. */
  #delivered = 0;
  /** The rooms of each subscriber. */
  readonly #rooms = new Map<string, Room[]>();

  constructor(parts: MemberServiceParts, { frameIntervalMs }: { frameIntervalMs: number }) {
    this.#parts = parts;
    this.#frameIntervalMs = frameIntervalMs;
  }

  add(room: Room, subscriber: Subscriber): Member {
    const rooms = this.#rooms.get(subscriber.id) ?? [];
    this.#rooms.set(subscriber.id, rooms);
    rooms.push(room);
    for (const one of rooms) one.mostTopics = Math.max(one.mostTopics, rooms.length);
    return room.add(subscriber);
  }

  remove(room: Room, member: Member): void {
    const { id } = member.subscriber;
    room.remove(member);
    const rooms = this.#rooms.get(id)?.filter((one) => one !== room) ?? [];
    if (rooms.length > 0) this.#rooms.set(id, rooms);
    else this.#rooms.delete(id);
    if (member.stuckSince !== null) this.#parts.metrics.slowSockets.dec();
    if (member.mode === "level") this.#parts.outlet.leave(id, room.name);
  }

  /** Holds frames back until its snapshot has been sent. */
  hold(room: Room, member: Member): void {
    if (member.mode === "level") this.#parts.outlet.leave(member.subscriber.id, room.name);
    room.setMode(member, "holding");
  }

  beginTurn(): void {
    this.#handed.clear();
  }

  endTurn(): void {
    this.#parts.metrics.deliveries.inc(this.#delivered);
    this.#delivered = 0;
  }

  /** Publishes a frame to the level members, and keeps it for the others. */
  broadcast(room: Room, batch: Batch, frame: Frame): void {
    this.#look(room, batch.bytes + AROUND_BYTES);
    for (const member of room.alone) keepFor(member, batch.entries, frame.rest);
    const level = room.members.size - room.alone.size;
    if (level === 0) return;
    this.#delivered += level;
    this.#parts.outlet.broadcast(room.name, frame.text);
  }

  #look(room: Room, bytes: number): void {
    const { size } = room.members;
    const looks = Math.ceil((size * bytes * room.mostTopics) / UNSEEN_BYTES);
    for (let i = Math.min(size, Math.max(LOOKS_A_FRAME, looks)); i > 0; i--)
      this.#lookAt(room, room.nextMember(), bytes);
  }

  #lookAt(room: Room, member: Member, bytes: number): void {
    if (member.mode !== "level") return;
    const { outlet } = this.#parts;
    const { id } = member.subscriber;
    const handed = this.#handed.get(id) ?? 0;
    if (outlet.bufferedBytes(id) + handed <= SLOW_BYTES) {
      this.#handed.set(id, handed + bytes);
      return;
    }
    outlet.leave(id, room.name);
    room.setMode(member, "alone");
    this.#markStuck(member);
  }

  #markStuck(member: Member): void {
    if (member.stuckSince !== null) return;
    member.stuckSince = performance.now();
    this.#parts.metrics.slowSockets.inc();
  }

  /** Sends what waits for a member of its own, if it can take it; with nothing left it is level again. */
  serveAlone(room: Room, member: Member): void {
    const { outlet, metrics, countViewers } = this.#parts;
    const { id } = member.subscriber;
    const now = performance.now();
    if (outlet.bufferedBytes(id) > SLOW_BYTES / 2) {
      this.#markStuck(member);
      if (now - (member.stuckSince ?? now) > STUCK_MS) outlet.disconnect(id, "slow_consumer");
      return;
    }
    if (member.stuckSince !== null) metrics.slowSockets.dec();
    member.stuckSince = null;
    if (member.lost) {
      void this.#readAlone(room, member); // never rejects
      return;
    }
    if (now < member.nextFrameAt) return;
    if (
      member.backlog.size > 0 ||
      member.viewersChanged ||
      member.totals !== null ||
      member.beginsAnew ||
      member.owesBehind
    ) {
      outlet.send(id, toFrame(room, member, member.backlog.take().entries, () => countViewers(room)).text);
      metrics.deliveries.inc();
      // Together with the room's frame the member may join the room at once: the next one comes late enough for it.
      if (now - room.lastFrameAt < TOGETHER_MS) room.lastFrameAt = now;
      member.nextFrameAt = now + this.#frameIntervalMs;
    }
    if (member.backlog.size > 0) return;
    // Joined any earlier, it would get the room's next frame too soon after its own.
    if (now < member.nextFrameAt && room.lastFrameAt + this.#frameIntervalMs < member.nextFrameAt) return;
    room.setMode(member, "level");
    outlet.join(id, room.name);
  }

  /** For a member that lost too much to be told key by key. */
  async #readAlone(room: Room, member: Member): Promise<void> {
    const { reader, viewersOf, wakeAt, logger } = this.#parts;
    room.setMode(member, "holding");
    member.lost = false;
    member.backlog.clear();
    let failed = false;
    try {
      const { entries, totals } = await reader.snapshot(room);
      beginAnew(member, [...entries, ...viewersOf(room).map(toEntry)], totals);
    } catch (error) {
      logger.warn({ err: error, topic: room.name }, "a snapshot could not be read");
      failed = true;
    }
    if (room.members.get(member.subscriber.id) !== member) return;
    member.lost ||= failed;
    room.setMode(member, "alone");
    wakeAt(room, performance.now() + (failed ? READ_RETRY_MS : 0));
  }
}
