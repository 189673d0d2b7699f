import type { Topic } from "../protocol/dashboard.ts";
import type { Bus, BusHandler, ChangedStream, Subscription } from "./bus.ts";
import type { Room } from "./room.ts";
import { channelsOf, isOfStreams, pairKey } from "./topic-view.ts";

/*
 * Rooms by what concerns them, so that a change finds the few that show it however many there are; and one
 * subscription to the bus a channel, for all rooms that need it.
 */

interface Channel {
  rooms: Set<Room>;
  subscription: Subscription;
  endPresence: () => void;
}

/** What a change, or a viewer, is of. */
interface Key {
  courseId: string;
  lessonId: string;
  fileId: string;
  userId: string;
}

export class RoomIndex {
  readonly #bus: Bus;
  readonly #hear: BusHandler;
  readonly #byName = new Map<string, Room>();
  readonly #byKind: Record<Topic["kind"], Map<string, Room>> = {
    user: new Map(),
    course: new Map(),
    learner: new Map(),
    lesson: new Map(),
    file: new Map(),
    stream: new Map(),
    streams: new Map(),
  };
  readonly #channels = new Map<string, Channel>();

  constructor(bus: Bus, hear: BusHandler) {
    this.#bus = bus;
    this.#hear = hear;
  }

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): Room | undefined {
    return this.#byName.get(name);
  }

  all(): Iterable<Room> {
    return this.#byName.values();
  }

  /** Changes that concern the room are heard from when `room.heard` resolves. */
  add(room: Room): void {
    this.#byName.set(room.name, room);
    this.#byKind[room.topic.kind].set(idOf(room.topic), room);
    const ready = channelsOf(room.topic, room.courseId).map((name) => {
      const channel = this.#channels.get(name) ?? this.#open(name, room);
      channel.rooms.add(room);
      return channel.subscription.ready;
    });
    room.heard = Promise.all(ready);
  }

  delete(room: Room): void {
    this.#byName.delete(room.name);
    this.#byKind[room.topic.kind].delete(idOf(room.topic));
    for (const name of channelsOf(room.topic, room.courseId)) {
      const channel = this.#channels.get(name);
      channel?.rooms.delete(room);
      if (channel === undefined || channel.rooms.size > 0) continue;
      this.#channels.delete(name);
      channel.subscription.leave();
      channel.endPresence();
    }
  }

  inChannel(name: string): Iterable<Room> {
    return this.#channels.get(name)?.rooms ?? [];
  }

  /** Rooms that show a change, or a viewer, of this key, as told in a channel; in any where it is null. */
  concernedBy(key: Key, channel: string | null): Room[] {
    const { user, course, learner, lesson, file } = this.#byKind;
    const rooms: Room[] = [];
    const add = (room: Room | undefined) => {
      if (room !== undefined && (channel === null || this.#channels.get(channel)?.rooms.has(room))) rooms.push(room);
    };
    if (file.size > 0) add(file.get(key.fileId));
    if (lesson.size > 0) add(lesson.get(key.lessonId));
    if (course.size > 0) add(course.get(key.courseId));
    if (user.size > 0) add(user.get(key.userId));
    if (learner.size > 0) add(learner.get(pairKey(key.courseId, key.userId)));
    return rooms;
  }

  concernedByStream({ streamId }: ChangedStream): Room[] {
    const { stream, streams } = this.#byKind;
    return [stream.get(streamId), streams.get("")].filter((room) => room !== undefined);
  }

  #open(name: string, { topic }: Room): Channel {
    const channel: Channel = {
      rooms: new Set(),
      subscription: this.#bus.subscribe(name, this.#hear),
      endPresence: isOfStreams(topic) ? () => undefined : this.#bus.wantPresence(name),
    };
    this.#channels.set(name, channel);
    return channel;
  }
}

function idOf(topic: Topic): string {
  switch (topic.kind) {
    case "user":
      return topic.userId;
    case "course":
      return topic.courseId;
    case "learner":
      return pairKey(topic.courseId, topic.userId);
    case "lesson":
      return topic.lessonId;
    case "file":
      return topic.fileId;
    case "stream":
      return topic.streamId;
    case "streams":
      return "";
  }
}
