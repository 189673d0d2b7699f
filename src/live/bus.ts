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
  /** The relay lives: what changes is told. */
  | { type: "pulse" }
  | { type: "present"; report: PresenceReport };

export type BusHandler = (message: BusMessage) => void;

/** The channel of a course, of a user, of all users, of all streams, of everything, and of the relay's sign of life. */
export const channels = {
  course: (courseId: string) => `course:${courseId}`,
  user: (userId: string) => `user:${userId}`,
  users: "users",
  streams: "streams",
  all: "all",
  pulse: "pulse",
};

export interface Subscription {
  /** Resolves when nothing that is published from then on is missed. Where others cannot be reached it does so at once: a resync follows. */
  ready: Promise<void>;
  leave(): void;
}

export interface Bus {
  publish(channel: string, message: BusMessage): void;
  subscribe(channel: string, handler: BusHandler): Subscription;
  /**
   * Viewers who are present at other processes are wanted in this channel, those who are there already as well.
   * @returns the way to end that
   */
  wantPresence(channel: string): () => void;
}

/** The bus of a process that runs alone. */
export function createMemoryBus(): Bus {
  const local = new LocalHandlers();
  return {
    publish: (channel, message) => local.deliver(channel, message),
    subscribe: (channel, handler) => ({ ready: Promise.resolve(), leave: local.add(channel, handler) }),
    wantPresence: () => () => undefined,
  };
}

/** Handlers of this process, by channel. */
export class LocalHandlers {
  readonly #handlers = new Map<string, Set<BusHandler>>();

  /** @returns the way to take it out again */
  add(channel: string, handler: BusHandler): () => void {
    const known = this.#handlers.get(channel) ?? new Set();
    this.#handlers.set(channel, known.add(handler));
    return () => {
      known.delete(handler);
      if (known.size === 0) this.#handlers.delete(channel);
    };
  }

  has(channel: string): boolean {
    return this.#handlers.has(channel);
  }

  deliver(channel: string, message: BusMessage): void {
    for (const handler of this.#handlers.get(channel) ?? []) handler(message);
  }
}
