import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Present, Topic, Update } from "../protocol/dashboard.ts";
import { Audience } from "./audience.ts";
import type { Bus, PresenceReport } from "./bus.ts";
import { toEntry, toFrame, toUpdate } from "./frame.ts";
import { FrameClock } from "./frame-clock.ts";
import { LevelMembers } from "./level-members.ts";
import type { Member } from "./member.ts";
import type { Outlet, Subscriber } from "./outlet.ts";
import type { Presence } from "./presence.ts";
import { Room } from "./room.ts";
import { RoomIndex } from "./room-index.ts";
import { RoomNews } from "./room-news.ts";
import { RoomReader } from "./room-reader.ts";
import { RoomRefresher } from "./room-refresher.ts";
import { SlowMembers } from "./slow-members.ts";
import type { TopicSource } from "./topic-source.ts";
import { isOfStreams } from "./topic-view.ts";
import { TotalsReader } from "./totals-reader.ts";

/*
 * Shows topics to dashboards. A change marks the rooms that show it (room-news.ts). In turns (frame-clock.ts) the rooms
 * that are due read what changed, all in one query a table (room-reader.ts), and each sends one frame with the newest
 * state per key: to members that keep up at once (level-members.ts), to the others one by one (slow-members.ts).
 */

export interface LiveHubParts {
  bus: Bus;
  /** Who is there; shared with the bus, which tells other processes. */
  presence: Presence;
  source: TopicSource;
  outlet: Outlet;
  metrics: Metrics;
  logger: Logger;
}

export interface LiveHubOptions {
  /** The shortest time between two frames of one topic. */
  frameIntervalMs: number;
}

const PRESENCE_SWEEP_MS = 1000;
const READ_RETRY_MS = 500;

export class LiveHub {
  readonly #parts: LiveHubParts;
  readonly #frameIntervalMs: number;
  readonly #rooms: RoomIndex;
  readonly #audience = new Audience();
  readonly #clock: FrameClock;
  readonly #news: RoomNews;
  readonly #reader: RoomReader;
  readonly #refresher: RoomRefresher;
  readonly #totals: TotalsReader;
  readonly #level: LevelMembers;
  readonly #slow: SlowMembers;
  readonly #resyncListeners: (() => void)[] = [];
  #sweep: NodeJS.Timeout | null = null;
  #isBehind = false;

  constructor(parts: LiveHubParts, options: LiveHubOptions) {
    const { bus, presence, source, outlet, metrics, logger } = parts;
    this.#parts = parts;
    this.#frameIntervalMs = options.frameIntervalMs;
    this.#rooms = new RoomIndex(bus);
    this.#reader = new RoomReader(source);
    const clock = new FrameClock({ ...options, onTurn: (due, active) => this.#turn(due, active) });
    this.#clock = clock;
    this.#refresher = new RoomRefresher({
      reader: this.#reader,
      onDone: (room) => this.#onRefreshed(room),
      logger,
    });
    this.#totals = new TotalsReader({ source, onLate: (room) => this.#onLateTotals(room), logger });
    this.#slow = new SlowMembers(
      {
        reader: this.#reader,
        viewersOf: (room) => this.#viewersOf(room),
        countViewers: (room) => this.#countViewers(room),
        wakeAt: (room, at) => clock.wakeAt(room, at),
        metrics,
        logger,
      },
      options,
    );
    this.#level = new LevelMembers({ outlet, slow: this.#slow, metrics });
    this.#news = new RoomNews({
      bus,
      rooms: this.#rooms,
      presence,
      clock,
      resync: () => this.resync(),
    });
  }

  start(): void {
    this.#news.start();
    this.#sweep = setInterval(() => {
      for (const viewer of this.#parts.presence.takeExpired()) this.#news.showGone(viewer);
    }, PRESENCE_SWEEP_MS).unref();
  }

  stop(): void {
    if (this.#sweep !== null) clearInterval(this.#sweep);
    this.#news.stop();
    this.#clock.stop();
  }

  /** The listener hears of every resync: what it knows of the database may be old. */
  onResync(listener: () => void): void {
    this.#resyncListeners.push(listener);
  }

  /** Notifications may have been lost: every room reads again what it shows. */
  resync(): void {
    this.#parts.metrics.resyncs.inc();
    for (const listener of this.#resyncListeners) listener();
    for (const room of this.#rooms.all()) this.#news.markStale(room);
  }

  /** Tells all members whether changes may be missed from now on. When they no longer are, every room is read again. */
  setBehind(isBehind: boolean): void {
    this.#isBehind = isBehind;
    for (const room of this.#rooms.all()) {
      room.isBehind = isBehind;
      room.owesBehind = true;
      this.#clock.schedule(room);
    }
    if (!isBehind) this.resync();
  }

  /** A player that is connected to this process reported its position. */
  report(report: PresenceReport): void {
    const viewer = this.#parts.presence.renew(report, true);
    if (viewer === null) return;
    this.#news.showViewer(viewer, null);
    this.#parts.bus.publishPresence(report);
  }

  /**
   * Subscribes first, then reads the snapshot, so that no change falls between. No frame is sent before `ready`. What
   * does not fit into the first frame of a large snapshot comes in the next ones.
   * @param courseId the course that the topic's changes come from; null for a user's own topic
   * @throws where the snapshot cannot be read; the subscriber is unsubscribed again
   */
  async subscribe(name: string, topic: Topic, courseId: string | null, subscriber: Subscriber): Promise<Update> {
    const room = this.#rooms.get(name) ?? this.#openRoom(name, topic, courseId);
    const member = room.members.get(subscriber.id) ?? this.#audience.add(room, subscriber);
    this.#slow.hold(room, member);
    try {
      return await this.#readFirst(room, member);
    } catch (error) {
      this.unsubscribe(name, subscriber.id);
      throw error;
    }
  }

  /** The snapshot has been sent: from here on frames follow. */
  ready(name: string, subscriberId: string): void {
    const room = this.#rooms.get(name);
    const member = room?.members.get(subscriberId);
    if (room === undefined || member?.mode !== "holding") return;
    room.setMode(member, "alone");
    this.#slow.serve(room, member);
    this.#clock.schedule(room);
  }

  unsubscribe(name: string, subscriberId: string): void {
    const room = this.#rooms.get(name);
    const member = room?.members.get(subscriberId);
    if (room === undefined || member === undefined) return;
    this.#audience.remove(room, member);
    this.#slow.forget(member);
    if (room.members.size === 0) this.#closeRoom(room);
  }

  /** Those of the topics that show the course. */
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
    this.#clock.forget(room);
    this.#parts.metrics.topics.set(this.#rooms.size);
  }

  async #readFirst(room: Room, member: Member): Promise<Update> {
    await room.heard;
    const { rows, entries, totals } = await this.#reader.snapshot(room);
    const viewers = this.#viewersOf(room);
    member.beginAnew([...entries, ...viewers.map(toEntry)], totals);
    room.shownTotals = null;
    const first = toUpdate(room, member, member.backlog.take().entries, this.#countViewers(room));
    // Every list that the topic has is there, empty lists too.
    const lists = isOfStreams(room.topic) ? Object.keys(rows) : [...Object.keys(rows), "present"];
    return { ...Object.fromEntries(lists.map((field) => [field, []])), ...first };
  }

  /** Never rejects. */
  async #turn(due: readonly Room[], active: Iterable<Room>): Promise<void> {
    this.#refresher.refresh(due);
    const showing = due.filter(({ isRefreshing }) => !isRefreshing);
    await Promise.all([this.#readChanges(showing), this.#totals.readDue(showing)]);
    this.#level.beginTurn();
    let frames = 0;
    for (const room of showing) if (this.#sendFrame(room)) frames += 1;
    this.#parts.metrics.frames.inc(frames);
    for (const room of active) if (room.alone.size > 0) this.#slow.serveAll(room);
    this.#level.endTurn();
  }

  async #readChanges(rooms: readonly Room[]): Promise<void> {
    try {
      await this.#reader.readChanges(rooms);
    } catch (error) {
      this.#parts.logger.warn({ err: error }, "changed rows could not be read; they will be tried again");
      // Presence goes out all the same.
      for (const room of rooms) room.readableAt = performance.now() + READ_RETRY_MS;
    }
  }

  /** @returns whether there was anything to send */
  #sendFrame(room: Room): boolean {
    if (!room.isOwed) return false;
    const batch = room.backlog.take();
    const frame = toFrame(room, room, batch.entries, room.viewersChanged ? this.#countViewers(room) : null);
    room.lastFrameAt = performance.now();
    this.#level.broadcast(room, batch, frame);
    return true;
  }

  #onRefreshed(room: Room): void {
    if (!this.#rooms.has(room)) return;
    for (const viewer of this.#viewersOf(room)) room.backlog.put(toEntry(viewer));
    this.#clock.schedule(room);
  }

  /** The sums wait for one interval for a frame of their room that goes out anyway. */
  #onLateTotals(room: Room): void {
    if (this.#rooms.has(room)) this.#clock.schedule(room, this.#frameIntervalMs);
  }

  #viewersOf(room: Room): Present[] {
    return this.#parts.presence.viewersOf(room.topic, room.courseId);
  }

  /** Null where the topic has no viewers. */
  #countViewers(room: Room): number | null {
    return isOfStreams(room.topic) ? null : this.#parts.presence.count(room.topic, room.courseId);
  }
}
