import type { Topic } from "../../protocol/dashboard.ts";
import type { Bus, ChangedStream } from "../bus/bus.ts";
import { hasPresence, isUserChannel } from "../bus/channels.ts";
import type { Room } from "./room.ts";
import { channelsOf } from "./topic-view.ts";

/*
 * The rooms of this process by name, by channel, and by the ids of their topics, so that a change finds the few rooms
 * that show it however many there are. The index subscribes to the channels that its rooms need.
 */

/** The ids of a change, or of a viewer. */
interface Ids {
  courseId: string;
  lessonId: string;
  fileId: string;
  userId: string;
}

export class RoomIndex {
  readonly #bus: Bus;
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
  readonly #byChannel = new Map<string, Set<Room>>();

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): Room | undefined {
    return this.#byName.get(name);
  }

  has(room: Room): boolean {
    return this.#byName.get(room.name) === room;
  }

  all(): Iterable<Room> {
    return this.#byName.values();
  }

  /** No change that concerns the room is missed once `room.heard` has resolved. */
  add(room: Room): void {
    this.#byName.set(room.name, room);
    this.#byKind[room.topic.kind].set(idOf(room.topic), room);
    const ready = channelsOf(room.topic, room.courseId).map((channel) => {
      const rooms = this.#byChannel.get(channel) ?? new Set();
      this.#byChannel.set(channel, rooms.add(room));
      // Each room has a subscription of its own: the bus counts them.
      const subscribed = this.#bus.subscribe(channel);
      if (hasPresence(channel)) this.#bus.wantPresence(channel);
      return subscribed;
    });
    room.heard = Promise.all(ready);
  }

  delete(room: Room): void {
    this.#byName.delete(room.name);
    this.#byKind[room.topic.kind].delete(idOf(room.topic));
    for (const channel of channelsOf(room.topic, room.courseId)) {
      const rooms = this.#byChannel.get(channel);
      if (rooms?.delete(room) && rooms.size === 0) this.#byChannel.delete(channel);
      if (hasPresence(channel)) this.#bus.releasePresence(channel);
      this.#bus.unsubscribe(channel);
    }
  }

  inChannel(channel: string): Iterable<Room> {
    return this.#byChannel.get(channel) ?? [];
  }

  /** The rooms that show a change, or a viewer, as told in a channel; in all channels where it is null. */
  concernedBy({ courseId, lessonId, fileId, userId }: Ids, channel: string | null): Room[] {
    const { user, course, learner, lesson, file } = this.#byKind;
    const rooms: Room[] = [];
    const isOfUser = channel !== null && isUserChannel(channel);
    if (!isOfUser) {
      addIfOf(courseId, rooms, file.size > 0 ? file.get(fileId) : undefined);
      addIfOf(courseId, rooms, lesson.size > 0 ? lesson.get(lessonId) : undefined);
      addIfOf(courseId, rooms, course.size > 0 ? course.get(courseId) : undefined);
      addIfOf(courseId, rooms, learner.size > 0 ? learner.get(learnerId(courseId, userId)) : undefined);
    }
    if (channel === null || isOfUser) {
      const own = user.size > 0 ? user.get(userId) : undefined;
      if (own !== undefined) rooms.push(own);
    }
    return rooms;
  }

  concernedByStream({ streamId }: ChangedStream): Room[] {
    const { stream, streams } = this.#byKind;
    return [stream.get(streamId), streams.get("")].filter((room) => room !== undefined);
  }
}

/** A file or a lesson that moved to another course is not shown to those who watch it in its old course. */
function addIfOf(courseId: string, rooms: Room[], room: Room | undefined): void {
  if (room !== undefined && room.courseId === courseId) rooms.push(room);
}

function learnerId(courseId: string, userId: string): string {
  return `${courseId}\u0000${userId}`;
}

function idOf(topic: Topic): string {
  switch (topic.kind) {
    case "user":
      return topic.userId;
    case "course":
      return topic.courseId;
    case "learner":
      return learnerId(topic.courseId, topic.userId);
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
