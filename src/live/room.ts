import type { Topic, TopicTotals, Update } from "../protocol/dashboard.ts";
import { Backlog, type Entry } from "./backlog.ts";
import type { ChangedKey, ChangedStream } from "./bus.ts";

/** A connection that watches topics. What it is made of is the gateway's business. */
export interface Subscriber {
  readonly id: string;
}

/**
 * How a subscriber is served in a room.
 *
 *   holding ── its snapshot was sent ──▶ alone ── nothing left, buffer low ──▶ level
 *                                          ▲                                     │
 *                                          └───────── its buffer is too full ────┘
 *
 * `level` members get the room's frames, published once for all. While `alone` (and `holding`) the newest state per
 * key is kept for the subscriber; it is sent when its buffer has emptied.
 */
export interface Member {
  subscriber: Subscriber;
  mode: "holding" | "alone" | "level";
  backlog: Backlog;
  /** So many entries are worth keeping for it. */
  capacity: number;
  /** More waited than that: it gets a whole snapshot instead. */
  lost: boolean;
  /** Its next frame begins a new snapshot. */
  beginsAnew: boolean;
  /** Of the frames it did not get: whether the viewers' count changed, and the newest sums. */
  viewersChanged: boolean;
  totals: TopicTotals | null;
  owesBehind: boolean;
  /** It gets no frame of its own before. */
  nextFrameAt: number;
  /** Since when its buffer has not emptied; null while it does. */
  stuckSince: number | null;
}

/** Past this many entries, or twice a snapshot's, a member's backlog is given up for a snapshot: memory stays bounded. */
const MEMBER_BACKLOG = 1000;

/** One topic that somebody watches here. */
export class Room {
  readonly name: string;
  readonly nameAsJson: string;
  readonly topic: Topic;
  /** The course whose changes and viewers concern the topic; null where it may be any. */
  readonly courseId: string | null;
  readonly members = new Map<string, Member>();
  /** Those that the broadcast does not reach now. */
  readonly alone = new Set<Member>();
  /** Where the going round has come to. */
  #round = this.members.values();
  /** Rows that changed and are to be read. */
  readonly changes = new Map<string, ChangedKey>();
  /** Streams that changed and are to be read. */
  readonly streamChanges = new Map<string, ChangedStream>();
  /** Everything is to be read again. */
  again = false;
  readonly backlog = new Backlog();
  /** The viewers' count is to be sent. */
  viewersChanged = false;
  /** Changes may be missed; `owesBehind`: that, or that it is over, is to be said. */
  isBehind = false;
  owesBehind = false;
  totalsChanged = false;
  totals: TopicTotals | null = null;
  totalsDueAt = 0;
  /** How long reading them took. */
  totalsMs = 0;
  /** The frame under way begins a new snapshot. */
  beginsAnew = false;
  lastFrameAt = Number.NEGATIVE_INFINITY;
  /** So many topics one of its members watches, or has watched. */
  mostTopics = 1;
  /** Resolves when no change is missed any more. */
  heard: Promise<unknown> = Promise.resolve();

  constructor(name: string, topic: Topic, courseId: string | null, isBehind: boolean) {
    this.isBehind = isBehind;
    this.name = name;
    this.nameAsJson = JSON.stringify(name);
    this.topic = topic;
    this.courseId = courseId;
  }

  get hasChanges(): boolean {
    return this.changes.size > 0 || this.streamChanges.size > 0;
  }

  get dirty(): boolean {
    return (
      this.hasChanges ||
      this.again ||
      this.backlog.size > 0 ||
      this.viewersChanged ||
      this.totalsChanged ||
      this.owesBehind
    );
  }

  add(subscriber: Subscriber): Member {
    const member: Member = {
      subscriber,
      mode: "holding",
      backlog: new Backlog(),
      capacity: MEMBER_BACKLOG,
      lost: false,
      beginsAnew: false,
      viewersChanged: false,
      totals: null,
      owesBehind: this.isBehind,
      nextFrameAt: Number.NEGATIVE_INFINITY,
      stuckSince: null,
    };
    this.members.set(subscriber.id, member);
    this.alone.add(member);
    return member;
  }

  /** The next member, round and round; of a room that has one. */
  nextMember(): Member {
    let next = this.#round.next();
    if (next.done) {
      this.#round = this.members.values();
      next = this.#round.next();
    }
    return next.value as Member;
  }

  setMode(member: Member, mode: Member["mode"]): void {
    member.mode = mode;
    if (mode === "level") this.alone.delete(member);
    else this.alone.add(member);
  }

  remove(member: Member): void {
    this.members.delete(member.subscriber.id);
    this.alone.delete(member);
  }

  change(key: ChangedKey): void {
    this.changes.set(`${key.userId}\u0000${key.fileId}`, key);
    this.totalsChanged = true;
  }

  changeStream(key: ChangedStream): void {
    this.streamChanges.set(key.streamId, key);
  }

  /** Marks again what could not be read. */
  changeBack(keys: readonly ChangedKey[], streams: readonly ChangedStream[]): void {
    for (const key of keys) this.change(key);
    for (const key of streams) this.changeStream(key);
  }
}

/** Keeps a frame for a member that cannot take it now. */
export function keepFor(
  member: Member,
  entries: readonly Entry[],
  frame: Pick<Update, "viewers" | "totals" | "snapshot" | "behind">,
): void {
  if (frame.behind !== undefined) member.owesBehind = true;
  if (frame.snapshot) member.lost = true;
  if (frame.viewers !== undefined) member.viewersChanged = true;
  if (frame.totals !== undefined) member.totals = frame.totals;
  if (!member.lost) for (const entry of entries) member.backlog.put(entry);
  if (member.lost || member.backlog.size > member.capacity) {
    member.backlog.clear();
    member.lost = true;
  }
}

/** Gives a member that lost too much the whole state in place of its backlog. What came meanwhile is newer. */
export function beginAnew(member: Member, snapshot: readonly Entry[], totals: TopicTotals | null): void {
  const newer = [...member.backlog.entries()];
  member.backlog.clear();
  for (const entry of snapshot) member.backlog.put(entry);
  for (const entry of newer) member.backlog.put(entry);
  member.capacity = Math.max(MEMBER_BACKLOG, 2 * member.backlog.size);
  member.beginsAnew = true;
  member.viewersChanged = true;
  member.totals ??= totals;
}
