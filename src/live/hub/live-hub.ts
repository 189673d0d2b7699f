import { createGuard, type Guard } from "../../guard.ts";
import type { Logger } from "../../logger.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import type { Topic, Update } from "../../protocol/dashboard.ts";
import type { Bus, PresenceReport } from "../bus/bus.ts";
import { Listeners } from "../listeners.ts";
import type { Presence } from "../presence/presence.ts";
import { Audience } from "./audience.ts";
import { toEntry, toLastFrame, toUpdate } from "./frame.ts";
import { FrameClock } from "./frame-clock.ts";
import { LevelMembers } from "./level-members.ts";
import type { Member } from "./member.ts";
import type { Outlet, Subscriber } from "./outlet.ts";
import { Room } from "./room.ts";
import { RoomFrames } from "./room-frames.ts";
import { RoomIndex } from "./room-index.ts";
import { RoomNews } from "./room-news.ts";
import { RoomReader } from "./room-reader.ts";
import { RoomRefresher } from "./room-refresher.ts";
import { RoomViewers } from "./room-viewers.ts";
import { SlowMembers } from "./slow-members.ts";
import type { TopicSource } from "./topic-source.ts";
import { isOfStreams, toEmptyRest } from "./topic-view.ts";
import { TotalsReader } from "./totals-reader.ts";

/*
 * Shows topics to dashboards. A change marks the rooms that show it (room-news.ts). In turns (frame-clock.ts) the rooms
 * that are due read their changed rows, many rooms in one query a table (room-reader.ts), and each sends one frame with
 * the newest state per key (room-frames.ts): to members that keep up at once (level-members.ts), to the others one by
 * one (slow-members.ts).
 */

export interface LiveHubParts {
  bus: Bus;
  /** Who is there; the bus tells other processes of it. */
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

export class LiveHub {
  readonly #parts: LiveHubParts;
  readonly #guard: Guard;
  readonly #rooms: RoomIndex;
  readonly #audience = new Audience();
  readonly #viewers: RoomViewers;
  readonly #reader: RoomReader;
  readonly #slow: SlowMembers;
  readonly #clock: FrameClock;
  readonly #frames: RoomFrames;
  readonly #news: RoomNews;
  readonly #resyncListeners = new Listeners<[]>();
  #sweep: NodeJS.Timeout | null = null;
  #isBehind = false;

  constructor(parts: LiveHubParts, { frameIntervalMs }: LiveHubOptions) {
    const { bus, presence, source, outlet, metrics, logger } = parts;
    this.#parts = parts;
    const rooms = new RoomIndex(bus);
    const viewers = new RoomViewers(presence);
    const reader = new RoomReader(source);
    const common = { reader, viewers, metrics, logger };
    this.#guard = createGuard(logger);
    const clock = new FrameClock({ frameIntervalMs, guard: this.#guard });
    const slow = new SlowMembers({ ...common, wakeAt: (room, at) => clock.wakeAt(room, at) }, { frameIntervalMs });
    this.#frames = new RoomFrames({
      ...common,
      slow,
      level: new LevelMembers({ outlet, slow, metrics }),
      refresher: new RoomRefresher({ ...common, onDone: (room) => rooms.has(room) && clock.schedule(room) }),
      totals: new TotalsReader({
        source,
        // They wait for a frame of their room that goes out anyway.
        onLate: (room) => rooms.has(room) && clock.schedule(room, frameIntervalMs),
        logger,
      }),
    });
    this.#rooms = rooms;
    this.#viewers = viewers;
    this.#reader = reader;
    this.#slow = slow;
    this.#clock = clock;
    this.#news = new RoomNews({ bus, rooms, presence, clock, resync: () => this.resync() });
  }

  start(): void {
    this.#news.start();
    this.#clock.start((due, active) => this.#frames.send(due, active));
    this.#sweep = setInterval(() => {
      this.#guard("the sweep of viewers", () => {
        for (const viewer of this.#parts.presence.takeExpired()) this.#news.showGone(viewer);
      });
    }, PRESENCE_SWEEP_MS).unref();
  }

  stop(): void {
    if (this.#sweep !== null) clearInterval(this.#sweep);
    this.#news.stop();
    this.#clock.stop();
  }

  /** These users were deleted: they are no longer there. */
  forgetUsers(isForgotten: (userId: string) => boolean): void {
    for (const viewer of this.#parts.presence.takeUsers(isForgotten)) this.#news.showGone(viewer);
  }

  /** Calls the listener at every resync: the right to watch may have changed without a notification. */
  onResync(listener: () => void): void {
    this.#resyncListeners.add(listener);
  }

  /** Notifications may have been lost: every room reads everything again. */
  resync(): void {
    this.#parts.metrics.resyncs.inc();
    this.#resyncListeners.tell();
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
   * @throws the database's error, if the snapshot cannot be read; the subscriber is unsubscribed again
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

  /** What the topic shows was deleted: unsubscribes the subscriber, after an empty snapshot as its last frame. */
  end(name: string, subscriberId: string): void {
    const room = this.#rooms.get(name);
    const member = room?.members.get(subscriberId);
    if (room === undefined || member === undefined) return;
    // A member that still waits for the answer to its subscription is refused by that answer.
    if (member.mode !== "holding") member.subscriber.send(toLastFrame(room, toEmptyRest(room.topic)));
    this.unsubscribe(name, subscriberId);
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

  /** The first frame of the member's snapshot; the rest waits in its backlog. */
  async #readFirst(room: Room, member: Member): Promise<Update> {
    await room.heard;
    const { rows, entries, totals } = await this.#reader.snapshot(room);
    member.beginAnew([...entries, ...this.#viewers.of(room).map(toEntry)], totals);
    room.shownTotals = null;
    const first = toUpdate(room, member, member.backlog.take().entries, this.#viewers.count(room));
    // Every list that the topic has is there, empty lists too.
    const lists = isOfStreams(room.topic) ? Object.keys(rows) : [...Object.keys(rows), "present"];
    return { ...Object.fromEntries(lists.map((field) => [field, []])), ...first };
  }
}
