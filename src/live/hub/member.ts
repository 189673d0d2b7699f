import type { TopicTotals } from "../../protocol/dashboard.ts";
import { Backlog, type Entry } from "./backlog.ts";
import type { Frame } from "./frame.ts";
import type { Subscriber } from "./outlet.ts";

/** Past this many entries, or twice those of a snapshot, a member gets a snapshot in place of its backlog: memory stays bounded. */
const MOST_ENTRIES = 1000;

/**
 * How a member is served.
 *
 *   holding ── its snapshot was sent ──▶ alone ── nothing left, buffer low ──▶ level
 *                                          ▲                                     │
 *                                          └───────── its buffer is too full ────┘
 *
 * `level`: it gets the room's frames, published once for all level members.
 * `alone`: its own backlog keeps the newest state per key, and is sent when its buffer has emptied.
 * `holding`: the same, but nothing is sent before a snapshot was.
 */
export type MemberMode = "holding" | "alone" | "level";

/** Bytes that were published to a subscriber in a turn, by all its rooms. */
export interface Handed {
  turn: number;
  bytes: number;
}

/** One subscriber in one room. Its mode is changed by its room alone. */
export class Member {
  readonly subscriber: Subscriber;
  /** Shared by the subscriber's members in all its rooms. */
  readonly handed: Handed;
  mode: MemberMode = "holding";
  readonly backlog = new Backlog();
  #capacity = MOST_ENTRIES;
  /** Its backlog was given up: it needs a whole snapshot. */
  isLost = false;
  /** How many snapshots were begun for it: only the newest is shown. */
  snapshotsBegun = 0;
  /** Its next frame begins a new snapshot. */
  beginsAnew = false;
  /** Its next frame says how many viewers there are. */
  viewersChanged = false;
  /** The newest sums that it has not got. */
  totals: TopicTotals | null = null;
  /** Its next frame says whether changes may be missed. */
  owesBehind: boolean;
  /** It gets no frame of its own before, by the monotonic clock. */
  nextFrameAt = Number.NEGATIVE_INFINITY;
  /** Since when its buffer has been too full; null while it is not. */
  stuckSince: number | null = null;

  constructor(subscriber: Subscriber, handed: Handed, owesBehind: boolean) {
    this.subscriber = subscriber;
    this.handed = handed;
    this.owesBehind = owesBehind;
  }

  get isOwed(): boolean {
    return this.backlog.size > 0 || this.viewersChanged || this.totals !== null || this.beginsAnew || this.owesBehind;
  }

  /** Keeps a frame of the room that the member cannot take now. */
  keep(entries: readonly Entry[], { rest }: Pick<Frame, "rest">): void {
    if (rest.behind !== undefined) this.owesBehind = true;
    if (rest.viewers !== undefined) this.viewersChanged = true;
    if (rest.totals !== undefined) this.totals = rest.totals;
    if (rest.snapshot) this.isLost = true;
    if (!this.isLost) for (const entry of entries) this.backlog.put(entry);
    if (this.isLost || this.backlog.size > this.#capacity) {
      this.backlog.clear();
      this.isLost = true;
    }
  }

  /** Gives up what waits: a snapshot is about to be read, and knows better. */
  giveUp(): void {
    this.backlog.clear();
    this.totals = null;
    this.isLost = false;
    this.snapshotsBegun += 1;
  }

  /** Puts a snapshot before the entries that came while it was read. */
  beginAnew(snapshot: readonly Entry[], totals: TopicTotals | null): void {
    const newer = [...this.backlog.entries()];
    this.backlog.clear();
    for (const entry of snapshot) this.backlog.put(entry);
    for (const entry of newer) this.backlog.put(entry);
    this.#capacity = Math.max(MOST_ENTRIES, 2 * this.backlog.size);
    this.beginsAnew = true;
    this.viewersChanged = true;
    this.totals ??= totals;
  }
}
