import type { Topic, TopicTotals } from "../../protocol/dashboard.ts";
import { Backlog } from "./backlog.ts";
import { Changes } from "./changes.ts";
import { type Handed, Member, type MemberMode } from "./member.ts";
import type { Subscriber } from "./outlet.ts";

/** One topic that is watched here: its members, the changes to read, and the entries to send. */
export class Room {
  readonly name: string;
  readonly nameAsJson: string;
  readonly topic: Topic;
  /** The course whose changes and viewers concern the topic; null where it may be any. */
  readonly courseId: string | null;
  readonly members = new Map<string, Member>();
  /** Members that the room's frames do not reach now. */
  readonly alone = new Set<Member>();
  #round = this.members.values();
  /** How many members are to be looked at before the next frame; a fraction is kept for the frame after it. */
  owedLooks = 0;
  /** The most topics that a member of this room watches, or has watched. */
  mostTopics = 1;
  /** Resolves when no change is missed any more. */
  heard: Promise<unknown> = Promise.resolve();

  /** What changed and is to be read. */
  readonly changes = new Changes();
  /** Changes may have been missed: a snapshot is to be read. */
  isStale = false;
  /** The snapshot is being read. Nothing is sent meanwhile. */
  isRefreshing = false;
  /** Reading failed: not again before, by the monotonic clock. */
  readableAt = Number.NEGATIVE_INFINITY;
  /** The sums over learners may have changed. */
  totalsChanged = false;
  /** Not read again before, by the monotonic clock. */
  totalsDueAt = Number.NEGATIVE_INFINITY;
  /** How long the last reading of the sums took, and of how many topics together it was. */
  totalsMs = 0;
  totalsGroup = 0;

  /** What was read and is to be sent. */
  readonly backlog = new Backlog();
  /** The next frame says how many viewers there are. */
  viewersChanged = false;
  /** Newly read sums; null where there are none. */
  totals: TopicTotals | null = null;
  /** The sums that all members have; null where they may have different ones. */
  shownTotals: TopicTotals | null = null;
  /** The next frame begins a new snapshot. */
  beginsAnew = false;
  /** Changes may be missed now. */
  isBehind: boolean;
  /** The next frame says whether changes may be missed. */
  owesBehind = false;
  /** When the next frame is due, by the monotonic clock; infinity where nothing is to be sent. */
  dueAt = Number.POSITIVE_INFINITY;
  lastFrameAt = Number.NEGATIVE_INFINITY;

  constructor(name: string, topic: Topic, courseId: string | null, isBehind: boolean) {
    this.name = name;
    this.nameAsJson = JSON.stringify(name);
    this.topic = topic;
    this.courseId = courseId;
    this.isBehind = isBehind;
  }

  /** Rows are to be read. */
  get mustRead(): boolean {
    return !this.changes.isEmpty || this.isStale;
  }

  /** Something is to be read, or to be sent. */
  get isDirty(): boolean {
    return this.mustRead || this.totalsChanged || this.isOwed;
  }

  /** Something is to be sent. */
  get isOwed(): boolean {
    return this.backlog.size > 0 || this.viewersChanged || this.totals !== null || this.beginsAnew || this.owesBehind;
  }

  add(subscriber: Subscriber, handed: Handed): Member {
    const member = new Member(subscriber, handed, this.isBehind);
    this.members.set(subscriber.id, member);
    this.alone.add(member);
    return member;
  }

  remove(member: Member): void {
    this.members.delete(member.subscriber.id);
    this.alone.delete(member);
  }

  setMode(member: Member, mode: MemberMode): void {
    member.mode = mode;
    if (mode === "level") this.alone.delete(member);
    else this.alone.add(member);
  }

  /** The next member in turn, endlessly. The room must have a member. */
  nextMember(): Member {
    let next = this.#round.next();
    if (next.done) {
      this.#round = this.members.values();
      next = this.#round.next();
    }
    return next.value as Member;
  }
}
