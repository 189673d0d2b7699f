import type { Logger } from "../logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { Present, Topic, Update } from "../protocol/dashboard.ts";
import type { Batch } from "./backlog.ts";
import { type Bus, type BusMessage, channels, type PresenceReport } from "./bus.ts";
import { toEntries, toEntry, toFrame } from "./frame.ts";
import type { Outlet } from "./outlet.ts";
import { Presence } from "./presence.ts";
import { beginAnew, keepFor, type Member, Room, type Subscriber } from "./room.ts";
import type { TopicSource } from "./topic-source.ts";
import {
  channelsOf,
  concerns,
  concernsStream,
  entriesOf,
  entryOfStream,
  isOfStreams,
  readRows,
  readSnapshot,
  readTotals,
} from "./topic-view.ts";

/*
 * Shows topics to whoever watches them. Changes are conflated: a room reads what changed at most once a frame
 * interval, for all rooms in one query a table, and sends the newest state per key. Nobody's queue grows: a member
 * that is slow is served alone, from a backlog that keeps one state a key, until it is level again.
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
/** Presence is known before the progress of the same heartbeat is durable; it waits for it, to share a frame. */
const PRESENCE_GATHER_MS = 120;
/** Above it a member is served alone; below half of it, again. */
const SLOW_BYTES = 128 * 1024;
/** A member's own frame that follows the room's so closely counts as one with it. */
const TOGETHER_MS = 20;
/** A buffer that has not emptied for so long belongs to nobody who reads. */
const STUCK_MS = 30_000;
/** Sums over all learners are read again at most so often, and never for more than a twentieth of the time. */
const TOTALS_INTERVAL_MS = 1000;
const TOTALS_SHARE = 20;
const READ_RETRY_MS = 500;
const CONCURRENT_READS = 3;

export class LiveHub {
  readonly #parts: LiveHubParts;
  readonly #options: LiveHubOptions;
  readonly #rooms = new Map<string, Room>();
  /** Rooms with something to read or to send. */
  readonly #active = new Set<Room>();
  readonly presence: Presence;
  #timer: NodeJS.Timeout | null = null;
  #dueAt = Number.POSITIVE_INFINITY;
  #ticking = false;
  #isBehind = false;
  /** Bytes published in this turn, by subscriber: they show in its buffer only when the turn is over. */
  readonly #handed = new Map<string, number>();
  #leaveBus: () => void = () => undefined;

  constructor(parts: LiveHubParts, options: LiveHubOptions) {
    this.#parts = parts;
    this.#options = options;
    this.presence = new Presence((report) => this.#showGone(report));
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

  /** Set by whoever decides from the catalogue who may watch: it has to decide again. */
  onResync: () => void = () => undefined;

  /** Notifications may have been lost: every room reads again what it shows. */
  resync(): void {
    this.#parts.metrics.resyncs.inc();
    this.onResync();
    for (const room of this.#rooms.values()) this.#readAgain(room);
  }

  /**
   * Changes may be missed from now on, or come again: said to whoever watches. When they come again, what is shown is
   * read anew.
   */
  setBehind(isBehind: boolean): void {
    this.#isBehind = isBehind;
    for (const room of this.#rooms.values()) {
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
    this.#parts.bus.publish(channels.course(report.courseId), { type: "present", report });
    this.#parts.bus.publish(channels.user(report.userId), { type: "present", report });
  }

  /**
   * Subscribes first, then reads, so that nothing falls between. Frames are held back until `ready`; what of a large
   * snapshot does not fit into one frame comes in the next ones.
   * `courseId` is the course that the topic's changes come from; null for a user's own topic.
   */
  async subscribe(name: string, topic: Topic, courseId: string | null, subscriber: Subscriber): Promise<Update> {
    const room = this.#rooms.get(name) ?? this.#openRoom(name, topic, courseId);
    const member = room.members.get(subscriber.id) ?? room.add(subscriber);
    try {
      return await this.#snapshot(room, member);
    } catch (error) {
      this.unsubscribe(name, subscriber.id);
      throw error;
    }
  }

  async #snapshot(room: Room, member: Member): Promise<Update> {
    if (member.mode === "level") {
      this.#parts.outlet.leave(member.subscriber.id, room.name);
      room.setMode(member, "holding");
    }
    const { source } = this.#parts;
    await room.heard;
    const [rows, totals] = await Promise.all([readSnapshot(room.topic, source), readTotals(room.topic, source)]);
    const viewers = this.#viewersOf(room);
    beginAnew(member, [...toEntries(rows), ...viewers.map(toEntry)], totals);
    const first = toFrame(room, member, member.backlog.take().entries, () => viewers.length);
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
    this.#serveAlone(room, member);
    this.#schedule(room);
  }

  unsubscribe(name: string, subscriberId: string): void {
    const room = this.#rooms.get(name);
    const member = room?.members.get(subscriberId);
    if (room === undefined || member === undefined) return;
    room.remove(member);
    if (member.stuckSince !== null) this.#parts.metrics.slowSockets.dec();
    if (member.mode === "level") this.#parts.outlet.leave(subscriberId, name);
    if (room.members.size === 0) this.#closeRoom(room);
  }

  /** Which of these topics show the course. */
  topicsOfCourse(courseId: string, names: Iterable<string>): string[] {
    return [...names].filter((name) => this.#rooms.get(name)?.courseId === courseId);
  }

  #openRoom(name: string, topic: Topic, courseId: string | null): Room {
    const room = new Room(name, topic, courseId, this.#isBehind);
    this.#rooms.set(name, room);
    const hear = (message: BusMessage) => this.#hear(room, message);
    const { bus } = this.#parts;
    const shared = channelsOf(topic, courseId);
    const subscriptions = shared.map((channel) => bus.subscribe(channel, hear));
    room.heard = Promise.all(subscriptions.map(({ ready }) => ready));
    room.leaveBus = subscriptions.map(({ leave }) => leave);
    if (!isOfStreams(topic)) room.leaveBus.push(...shared.map((channel) => bus.wantPresence(channel)));
    this.#parts.metrics.topics.set(this.#rooms.size);
    return room;
  }

  #closeRoom(room: Room): void {
    for (const leave of room.leaveBus) leave();
    this.#rooms.delete(room.name);
    this.#active.delete(room);
    this.#parts.metrics.topics.set(this.#rooms.size);
  }

  #hear(room: Room, message: BusMessage): void {
    if (message.type === "again") this.#readAgain(room);
    else if (message.type === "changed") {
      const keys = message.keys.filter((key) => concerns(room.topic, key));
      if (keys.length === 0) return;
      room.change(keys);
      this.#schedule(room);
    } else if (message.type === "streams") {
      const keys = message.keys.filter((key) => concernsStream(room.topic, key));
      if (keys.length === 0) return;
      room.changeStreams(keys);
      this.#schedule(room);
    } else if (message.type === "present" && concerns(room.topic, message.report))
      this.#showPresent(room, message.report);
  }

  #readAgain(room: Room): void {
    room.again = true;
    this.#schedule(room);
  }

  #showPresent(room: Room, report: PresenceReport): void {
    // Known already where its player is connected here.
    this.presence.apply(report, { isLocal: false });
    const present = this.presence.find(report);
    if (present === null) return;
    room.backlog.put(toEntry(present));
    room.viewersChanged = true;
    this.#schedule(room, PRESENCE_GATHER_MS);
  }

  #showGone(report: PresenceReport): void {
    const { userId, fileId } = report;
    for (const room of this.#rooms.values()) {
      if (!concerns(room.topic, report)) continue;
      room.backlog.put({ field: "removed", value: { kind: "present", userId, fileId, version: 0 } });
      room.viewersChanged = true;
      this.#schedule(room);
    }
  }

  #viewersOf(room: Room): Present[] {
    return this.presence.viewersOf(room.courseId, (report) => concerns(room.topic, report));
  }

  #schedule(room: Room, gatherMs = GATHER_MS): void {
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
      await this.#read(due);
    } catch (error) {
      // The rows stay marked; what is known of presence goes out all the same.
      this.#parts.logger.warn({ err: error }, "what dashboards show could not be read");
      for (const room of due) room.again = true;
    }
    this.#handed.clear();
    for (const room of due) this.#frame(room);
    for (const room of this.#active) {
      for (const member of room.alone) if (member.mode === "alone") this.#serveAlone(room, member);
    }
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

  /** Reads the rows behind all due rooms' changes together, then what each room needs for itself. */
  async #read(rooms: Room[]): Promise<void> {
    const taken = rooms.map((room) => {
      const changes = [...room.changes.values()];
      const streamChanges = [...room.streamChanges.values()];
      room.changes = new Map();
      room.streamChanges = new Map();
      return { room, changes, streamChanges };
    });
    try {
      const rows = await readRows(
        taken.map(({ room: { topic }, changes, streamChanges }) => ({ topic, changes, streamChanges })),
        this.#parts.source,
      );
      for (const { room, changes, streamChanges } of taken) {
        for (const key of changes) for (const entry of entriesOf(room.topic, key, rows)) room.backlog.put(entry);
        for (const key of streamChanges) room.backlog.put(entryOfStream(key, rows));
      }
    } catch (error) {
      for (const { room, changes, streamChanges } of taken) {
        room.change(changes);
        room.changeStreams(streamChanges);
      }
      throw error;
    }
    // A few at a time: after lost notifications every room reads, and others need the database as well.
    const queue = rooms.values();
    const readers = Array.from({ length: CONCURRENT_READS }, async () => {
      for (const room of queue) {
        if (room.again) await this.#readAll(room);
        if (room.totalsChanged && performance.now() >= room.totalsDueAt) await this.#readTotals(room);
      }
    });
    await Promise.all(readers);
  }

  async #readAll(room: Room): Promise<void> {
    room.again = false;
    for (const entry of toEntries(await readSnapshot(room.topic, this.#parts.source))) room.backlog.put(entry);
    for (const present of this.#viewersOf(room)) room.backlog.put(toEntry(present));
    room.beginsAnew = true;
    room.viewersChanged = true;
    room.totalsChanged = true;
  }

  async #readTotals(room: Room): Promise<void> {
    const startedAt = performance.now();
    room.totalsChanged = false;
    room.totals = await readTotals(room.topic, this.#parts.source);
    const now = performance.now();
    room.totalsDueAt = now + Math.max(TOTALS_INTERVAL_MS, TOTALS_SHARE * (now - startedAt));
  }

  #frame(room: Room): void {
    const batch = room.backlog.take();
    if (batch.entries.length > 0 || room.viewersChanged || room.totals !== null || room.owesBehind) {
      const update = toFrame(room, room, batch.entries, () => this.#viewersOf(room).length);
      room.lastFrameAt = performance.now();
      this.#parts.metrics.frames.inc();
      for (const member of room.members.values()) this.#placeMember(room, member, batch, update);
      this.#parts.outlet.broadcast(room.name, update);
    }
  }

  /** Decides who gets the frame from the broadcast, and for whom it is kept. */
  #placeMember(room: Room, member: Member, batch: Batch, update: Update): void {
    const { outlet, metrics } = this.#parts;
    const { id } = member.subscriber;
    if (member.mode === "level") {
      const handed = this.#handed.get(id) ?? 0;
      if (outlet.bufferedBytes(id) + handed <= SLOW_BYTES) {
        this.#handed.set(id, handed + batch.bytes);
        metrics.deliveries.inc();
        return;
      }
      outlet.leave(id, room.name);
      room.setMode(member, "alone");
      this.#markStuck(member);
    }
    keepFor(member, batch.entries, update);
  }

  #markStuck(member: Member): void {
    if (member.stuckSince !== null) return;
    member.stuckSince = performance.now();
    this.#parts.metrics.slowSockets.inc();
  }

  #serveAlone(room: Room, member: Member): void {
    const { outlet, metrics } = this.#parts;
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
      outlet.send(
        id,
        toFrame(room, member, member.backlog.take().entries, () => this.#viewersOf(room).length),
      );
      metrics.deliveries.inc();
      // Together with the room's frame the member may join the room at once: the next one comes late enough for it.
      if (now - room.lastFrameAt < TOGETHER_MS) room.lastFrameAt = now;
      member.nextFrameAt = now + this.#options.frameIntervalMs;
    }
    if (member.backlog.size > 0) return;
    // Joined any earlier, it would get the room's next frame too soon after its own.
    if (now < member.nextFrameAt && room.lastFrameAt + this.#options.frameIntervalMs < member.nextFrameAt) return;
    room.setMode(member, "level");
    outlet.join(id, room.name);
  }

  /** For a member that lost too much to be told key by key. */
  async #readAlone(room: Room, member: Member): Promise<void> {
    room.setMode(member, "holding");
    member.lost = false;
    member.backlog.clear();
    let failed = false;
    try {
      const { source } = this.#parts;
      const [rows, totals] = await Promise.all([readSnapshot(room.topic, source), readTotals(room.topic, source)]);
      beginAnew(member, [...toEntries(rows), ...this.#viewersOf(room).map(toEntry)], totals);
    } catch (error) {
      this.#parts.logger.warn({ err: error, topic: room.name }, "a snapshot could not be read");
      failed = true;
    }
    if (room.members.get(member.subscriber.id) !== member) return;
    member.lost ||= failed;
    room.setMode(member, "alone");
    this.#active.add(room);
    this.#wakeAt(performance.now() + (failed ? READ_RETRY_MS : 0));
  }
}
