import type { Guard } from "../../guard.ts";
import type { Room } from "./room.ts";

/*
 * Says when rooms are due, by one timer for all of them. A turn takes all rooms that are due; there is one turn at a
 * time, and no room is due within a frame interval of its last frame.
 */

/** A change that comes alone waits this long for others, to share a frame with them. */
const GATHER_MS = 5;
/** It never waits for more than this share of the frame interval. */
const GATHER_SHARE = 0.1;
/** Timers come up to a millisecond early. */
const EARLY_MS = 1;

/** `due` rooms have something to show; `active` rooms have that, or members that are served alone. */
export type Turn = (due: readonly Room[], active: Iterable<Room>) => Promise<void>;

export class FrameClock {
  readonly #frameIntervalMs: number;
  readonly #gatherMs: number;
  readonly #guard: Guard;
  /** Null until it starts. */
  #turn: Turn | null = null;
  /** Rooms with something to read or to send, and rooms with members that are served alone. */
  readonly #active = new Set<Room>();
  #timer: NodeJS.Timeout | null = null;
  #wakesAt = Number.POSITIVE_INFINITY;
  #isTurning = false;

  constructor({ frameIntervalMs, guard }: { frameIntervalMs: number; guard: Guard }) {
    this.#frameIntervalMs = frameIntervalMs;
    this.#guard = guard;
    this.#gatherMs = Math.min(GATHER_MS, GATHER_SHARE * frameIntervalMs);
  }

  start(turn: Turn): void {
    this.#turn = turn;
  }

  /** The room has something to show. It waits `gatherMs` for more, unless it is due earlier already. */
  schedule(room: Room, gatherMs = this.#gatherMs): void {
    this.#makeDue(room, Math.max(performance.now() + gatherMs, this.#nextFrameAt(room)));
    this.wakeAt(room, room.dueAt);
  }

  /** The room has members to serve at that time, by the monotonic clock. */
  wakeAt(room: Room, at: number): void {
    this.#active.add(room);
    this.#wakeAt(at);
  }

  forget(room: Room): void {
    this.#active.delete(room);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#wakesAt = Number.NEGATIVE_INFINITY; // earlier than anything that is asked for from now on
  }

  #makeDue(room: Room, at: number): void {
    room.dueAt = Math.min(room.dueAt, at);
  }

  #nextFrameAt(room: Room): number {
    return room.lastFrameAt + this.#frameIntervalMs;
  }

  #wakeAt(at: number): void {
    if (at >= this.#wakesAt) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#wakesAt = at;
    const delayMs = Math.max(0, at - performance.now());
    this.#timer = setTimeout(() => {
      this.#wakesAt = Number.POSITIVE_INFINITY;
      this.#guard("a turn of the frames", () => this.#takeTurn());
    }, delayMs);
  }

  async #takeTurn(): Promise<void> {
    if (this.#isTurning) return; // the turn that is under way looks at all rooms at its end
    this.#isTurning = true;
    try {
      await this.#turn?.(this.#takeDue(), this.#active);
    } finally {
      this.#isTurning = false;
      this.#wakeForRest();
    }
  }

  #takeDue(): Room[] {
    const now = performance.now() + EARLY_MS;
    const due: Room[] = [];
    for (const room of this.#active) {
      // A room may have sent a frame since it was scheduled: that of a member, right after its own.
      if (room.isRefreshing || now < Math.max(room.dueAt, room.readableAt, this.#nextFrameAt(room))) continue;
      room.dueAt = Number.POSITIVE_INFINITY;
      if (room.isDirty) due.push(room);
    }
    return due;
  }

  #wakeForRest(): void {
    const now = performance.now();
    for (const room of this.#active) {
      const at = this.#nextAt(room, now);
      if (at === Number.POSITIVE_INFINITY) this.#active.delete(room);
      else this.#wakeAt(at);
    }
  }

  /** When the room has something to do next; infinity where it waits to be scheduled. */
  #nextAt(room: Room, now: number): number {
    const servesAt = room.alone.size > 0 ? now + this.#frameIntervalMs : Number.POSITIVE_INFINITY;
    if (room.isRefreshing) return servesAt;
    if (room.dueAt === Number.POSITIVE_INFINITY) {
      if (room.mustRead || room.isOwed) this.#makeDue(room, now + this.#gatherMs);
      else if (room.totalsChanged) this.#makeDue(room, room.totalsDueAt);
    }
    return Math.min(servesAt, Math.max(room.dueAt, room.readableAt, this.#nextFrameAt(room)));
  }
}
