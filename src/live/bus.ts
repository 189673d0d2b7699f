import type { PlayerState } from "../protocol/heartbeat.ts";

/*
 * What nodes tell each other. A channel a course and a channel a user; a node subscribes only to those its own rooms
 * need. Messages say what changed, never the state itself: whoever shows it reads it.
 */

/** A row of progress that changed, and the version it has now at least. */
export interface ChangedKey {
  courseId: string;
  lessonId: string;
  fileId: string;
  userId: string;
  version: number;
}

/** A stream that changed, and the version it has now at least. */
export interface ChangedStream {
  streamId: string;
  version: number;
}

/** A player that reported its position. */
export interface PresenceReport {
  courseId: string;
  lessonId: string;
  fileId: string;
  userId: string;
  position: number;
  state: PlayerState;
  rate: number;
  /** How old the position was when it was reported. */
  ageMs: number;
  /** After so long without another report the viewer is gone. */
  leaseMs: number;
}

export type BusMessage =
  | { type: "changed"; keys: ChangedKey[] }
  | { type: "streams"; keys: ChangedStream[] }
  /** Too much changed to name it, or notifications may have been lost: read again what is shown. */
  | { type: "again" }
  | { type: "present"; report: PresenceReport };

export type BusHandler = (message: BusMessage) => void;

/** The channel of a course, of a user, of all users, of all streams, and of everything. */
export const channels = {
  course: (courseId: string) => `course:${courseId}`,
  user: (userId: string) => `user:${userId}`,
  users: "users",
  streams: "streams",
  all: "all",
};

export interface Bus {
  publish(channel: string, message: BusMessage): void;
  /** @returns the way to end the subscription */
  subscribe(channel: string, handler: BusHandler): () => void;
}

/** The bus of a process that runs alone. */
export function createMemoryBus(): Bus {
  const handlers = new Map<string, Set<BusHandler>>();
  return {
    publish(channel, message) {
      for (const handler of handlers.get(channel) ?? []) handler(message);
    },
    subscribe(channel, handler) {
      const known = handlers.get(channel) ?? new Set();
      handlers.set(channel, known.add(handler));
      return () => {
        known.delete(handler);
        if (known.size === 0) handlers.delete(channel);
      };
    },
  };
}
