import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Present, Topic, Update } from "../protocol/dashboard.ts";
import { type Bus, type BusMessage, channels, type PresenceReport } from "./bus.ts";
import { toEntry, toFrame, toUpdate } from "./frame.ts";
import { MemberService } from "./member-service.ts";
import type { Outlet } from "./outlet.ts";
import { Presence } from "./presence.ts";
import { beginAnew, type Member, Room, type Subscriber } from "./room.ts";
import { RoomIndex } from "./room-index.ts";
import { RoomReader } from "./room-reader.ts";
import type { TopicSource } from "./topic-source.ts";
import { isOfStreams } from "./topic-view.ts";

/*
 * Shows topics to whoever watches them. Changes are conflated: a room reads what changed at most once a frame
 * interval, for all rooms in one query a table (room-reader.ts), and sends the newest state per key. Nobody's queue
 * grows: who is slow is served alone (member-service.ts).
 */

export interface LiveHubParts {
  bus: Bus;
  source: TopicSource;
  outlet: Outlet;
  metrics: Metrics;
  logger: Logger;
}

export interface LiveHubOptions {
  /** The shortest time between two frames of one topic. */
  frameIntervalMs: number;
}

/** A change that comes alone goes out after so short a while: what comes with it shares its frame. */
const GATHER_MS = 10;
/** And after no more than this share of the frame interval. */
const GATHER_SHARE = 0.25;
/** Presence is known before the progress of the same heartbeat is durable; it waits for it, to share a frame. */
const PRESENCE_GATHER_MS = 120;
const READ_RETRY_MS = 500;

export class LiveHub {
  readonly #parts: LiveHubParts;
  readonly #options: LiveHubOptions;
  readonly #gatherMs: number;
  readonly #rooms: RoomIndex;
  readonly #reader: RoomReader;
  readonly #members: MemberService;
  /** Rooms with something to read or to send. */
  readonly #active = new Set<Room>();
  readonly presence: Presence;
  #timer: NodeJS.Timeout | null = null;
  #dueAt = Number.POSITIVE_INFINITY;
  #ticking = false;
  #isBehind = false;
  #leaveBus: () => void = () => undefined;
  readonly #resyncListeners: (() => void)[] = [];

  constructor(parts: LiveHubParts, options: LiveHubOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#gatherMs = Math.min(GATHER_MS, GATHER_SHARE * options.frameIntervalMs);
    this.presence = new Presence((report) => this.#showGone(report));
    this.#rooms = new RoomIndex(parts.bus, (message, channel) => this.#hear(message, channel));
    this.#reader = new RoomReader(parts.source, (room) => {
      for (const present of this.#viewersOf(room)) room.backlog.put(toEntry(present));
    });
    this.#members = new MemberService(
      {
        ...parts,
        reader: this.#reader,
        viewersOf: (room) => this.#viewersOf(room),
        countViewers: (room) => this.#countViewers(room),
        wakeAt: (room, at) => {
          this.#active.add(room);
          this.#wakeAt(at);
        },
      },
      options,
    );
  }

  start(): void {
    this.presence.start();
    this.#leaveBus = this.#parts.bus.subscribe(channels.all, () => this.resync()).leave;
  }

  stop(): void {
    this.presence.stop();
    this.#leaveBus();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#dueAt = Number.NEGATIVE_INFINITY; // nothing is scheduled any more
  }

  /** Calls the listener at every resync: the right to watch may have changed without a notification. */
  onResync(listener: () => void): void {
    this.#resyncListeners.push(listener);
  }

  /** Notifications may have been lost: every room reads again what it shows. */
  resync(): void {
    this.#parts.metrics.resyncs.inc();
    for (const listener of this.#resyncListeners) listener();
    for (const room of this.#rooms.all()) this.#readAgain(room);
  }

  /**
   * Changes may be missed from now on, or come again: said to whoever watches. When they come again, what is shown is
   * read anew.
   */
  setBehind(isBehind: boolean): void {
    this.#isBehind = isBehind;
    for (const room of this.#rooms.all()) {
      room.isBehind = isBehind;
      room.owesBehind = true;
      this.#schedule(room);
    }
    if (!isBehind) this.resync();
  }

  /** Who is present here in what a channel of the bus shows. */
  presentIn(channel: string): PresenceReport[] {
    return this.presence.localReports(
      ({ courseId, userId }) => channels.course(courseId) === channel || channels.user(userId) === channel,
    );
  }

  /** A player reported: told to this node's rooms, and over the bus to the other nodes'. */
  report(report: PresenceReport): void {
    if (!this.presence.apply(report, { isLocal: true })) return;
    const { bus } = this.#parts;
    const { courseId, userId } = report;
    // Most are watched by nobody, and heartbeats are many.
    if (bus.isPresenceWanted("course", courseId)) bus.publish(channels.course(courseId), { type: "present", report });
    if (bus.isPresenceWanted("user", userId)) bus.publish(channels.user(userId), { type: "present", report });
  }

  /**
   * Subscribes first, then reads, so that nothing falls between. Frames are held back until `ready`; what of a large
   * snapshot does not fit into one frame comes in the next ones.
   * `courseId` is the course that the topic's changes come from; null for a user's own topic.
   */
  async subscribe(name: string, topic: Topic, courseId: string | null, subscriber: Subscriber): Promise<Update> {
    const room = this.#rooms.get(name) ?? this.#openRoom(name, topic, courseId);
    const member = room.members.get(subscriber.id) ?? this.#members.add(room, subscriber);
    try {
      return await this.#snapshot(room, member);
    } catch (error) {
      this.unsubscribe(name, subscriber.id);
      throw error;
    }
  }

  async #snapshot(room: Room, member: Member): Promise<Update> {
    this.#members.hold(room, member);
    await room.heard;
    const { rows, entries, totals } = await this.#reader.snapshot(room);
    const viewers = this.#viewersOf(room);
    beginAnew(member, [...entries, ...viewers.map(toEntry)], totals);
    const first = toUpdate(room, member, member.backlog.take().entries, () => viewers.length);
    // Every list that the topic has is there, an empty one too.
    const lists = isOfStreams(room.topic) ? Object.keys(rows) : [...Object.keys(rows), "present"];
    return { ...Object.fromEntries(lists.map((field) => [field, []])), ...first };
  }

  /** The snapshot has been sent: from here on frames follow. */
  ready(name: string, subscriberId: string): void {
    const room = this.#rooms.get(name);
    const member = room?.members.get(subscriberId);
    if (room === undefined || member === undefined || member.mode !== "holding") return;
    room.setMode(member, "alone");
    this.#members.serveAlone(room, member);
    this.#schedule(room);
  }

  unsubscribe(name: string, subscriberId: string): void {
    const room = this.#rooms.get(name);
    const member = room?.members.get(subscriberId);
    if (room === undefined || member === undefined) return;
    this.#members.remove(room, member);
    if (room.members.size === 0) this.#closeRoom(room);
  }

  /** Which of these topics show the course. */
  topicsOfCourse(courseId: string, names: Iterable<string>): string[] {
    return [...names].filter((name) => this.#rooms.get(name)?.courseId === courseId);
  }

  #openRoom(name: string, topic: Topic, courseId: string | null): Room {
    const room = new Room(name, topic, courseId, this.#isBehind);
    this.#rooms.add(room);
    this.#parts.metrics.topics.set(this.#rooms.size);
    return room;
  }

  #closeRoom(room: Room): void {
    this.#rooms.delete(room);
    this.#active.delete(room);
    this.#parts.metrics.topics.set(this.#rooms.size);
  }

  #hear(message: BusMessage, channel: string): void {
    const rooms = this.#rooms;
    const touched = new Set<Room>();
    if (message.type === "again") for (const room of rooms.inChannel(channel)) this.#readAgain(room);
    else if (message.type === "present") this.#showPresent(message.report, channel);
    else if (message.type === "changed") {
      for (const key of message.keys) {
        for (const room of rooms.concernedBy(key, channel)) {
          room.change(key);
          touched.add(room);
        }
      }
    } else if (message.type === "streams") {
      for (const key of message.keys) {
        for (const room of rooms.concernedByStream(key)) {
          room.changeStream(key);
          touched.add(room);
        }
      }
    }
    for (const room of touched) this.#schedule(room);
  }

  #readAgain(room: Room): void {
    room.again = true;
    this.#schedule(room);
  }

  #showPresent(report: PresenceReport, channel: string): void {
    // Known already where its player is connected here.
    this.presence.apply(report, { isLocal: false });
    const present = this.presence.find(report);
    if (present === null) return;
    const entry = toEntry(present);
    for (const room of this.#rooms.concernedBy(report, channel)) {
      room.backlog.put(entry);
      room.viewersChanged = true;
      this.#schedule(room, PRESENCE_GATHER_MS);
    }
  }

  #showGone(report: PresenceReport): void {
    const { userId, fileId } = report;
    for (const room of this.#rooms.concernedBy(report, null)) {
      room.backlog.put({ field: "removed", value: { kind: "present", userId, fileId, version: 0 } });
      room.viewersChanged = true;
      this.#schedule(room);
    }
  }

  #viewersOf(room: Room): Present[] {
    return this.presence.viewersOf(room.topic, room.courseId);
  }

  #countViewers(room: Room): number {
    return this.presence.count(room.topic, room.courseId);
  }

  #schedule(room: Room, gatherMs = this.#gatherMs): void {
    this.#active.add(room);
    this.#wakeAt(Math.max(performance.now() + gatherMs, room.lastFrameAt + this.#options.frameIntervalMs));
  }

  #wakeAt(at: number): void {
    if (at >= this.#dueAt) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#dueAt = at;
    this.#timer = setTimeout(
      () => {
        this.#dueAt = Number.POSITIVE_INFINITY;
        void this.#tick(); // never rejects
      },
      Math.max(0, at - performance.now()),
    );
  }

  async #tick(): Promise<void> {
    if (this.#ticking) return;
    this.#ticking = true;
    const now = performance.now();
    const due = [...this.#active].filter(
      (room) => room.dirty && room.lastFrameAt + this.#options.frameIntervalMs <= now + 1,
    );
    try {
      await this.#reader.read(due);
    } catch (error) {
      // The rows stay marked; what is known of presence goes out all the same.
      this.#parts.logger.warn({ err: error }, "what dashboards show could not be read");
      for (const room of due) room.again = true;
    }
    this.#members.beginTurn();
    let frames = 0;
    for (const room of due) if (this.#frame(room)) frames += 1;
    this.#parts.metrics.frames.inc(frames);
    for (const room of this.#active) {
      for (const member of room.alone) if (member.mode === "alone") this.#members.serveAlone(room, member);
    }
    this.#members.endTurn();
    this.#ticking = false;
    this.#scheduleRest();
  }

  #scheduleRest(): void {
    const now = performance.now();
    for (const room of this.#active) {
      const nextFrameAt = room.lastFrameAt + this.#options.frameIntervalMs;
      if (room.again) this.#wakeAt(Math.max(now + READ_RETRY_MS, nextFrameAt));
      else if (room.hasChanges || room.backlog.size > 0 || room.viewersChanged || room.owesBehind) this.#schedule(room);
      else if (room.totalsChanged) this.#wakeAt(Math.max(room.totalsDueAt, nextFrameAt));
      else if (room.alone.size > 0) this.#wakeAt(now + this.#options.frameIntervalMs);
      else this.#active.delete(room);
    }
  }

  /** @returns whether there was anything to tell */
  #frame(room: Room): boolean {
    const batch = room.backlog.take();
    if (batch.entries.length === 0 && !room.viewersChanged && room.totals === null && !room.owesBehind) return false;
    const frame = toFrame(room, room, batch.entries, () => this.#countViewers(room));
    room.lastFrameAt = performance.now();
    this.#members.broadcast(room, batch, frame);
    return true;
  }
}
