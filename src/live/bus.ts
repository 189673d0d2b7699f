import type { PlayerState } from "../protocol/heartbeat.ts";
import { PresenceDemand, type PresenceKind } from "./presence-demand.ts";

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

export type BusHandler = (message: BusMessage, channel: string) => void;

const USER_PREFIX = "user:";

/** The channel of a course, of a user, of all users, of all streams, of everything, and of the relay's sign of life. */
export const channels = {
  course: (courseId: string) => `course:${courseId}`,
  user: (userId: string) => `${USER_PREFIX}${userId}`,
  users: "users",
  streams: "streams",
  all: "all",
  pulse: "pulse",
};

/** Of a user's channel. */
export function toUserId(channel: string): string {
  return channel.slice(USER_PREFIX.length);
}

export interface Subscription {
  /** Resolves when nothing that is published from then on is missed. Where others cannot be reached it does so at once: a resync follows. */
  ready: Promise<void>;
  leave(): void;
}

export interface Bus {
  publish(channel: string, message: BusMessage): void;
  subscribe(channel: string, handler: BusHandler): Subscription;
  /** As the subscription's `leave`, for whoever has too many of them to keep a function for each. */
  unsubscribe(channel: string, handler: BusHandler): void;
  /**
   * Viewers who are present at other processes are wanted in this channel, those who are there already as well.
   * @returns the way to end that
   */
  wantPresence(channel: string): () => void;
  /** Whether anybody, here or at another process, wants the viewers of a course or of a user. */
  isPresenceWanted(kind: PresenceKind, id: string): boolean;
}

/** The bus of a process that runs alone. */
export function createMemoryBus(): Bus {
  const local = new LocalHandlers();
  const demand = new PresenceDemand();
  return {
    publish: (channel, message) => local.deliver(channel, message),
    subscribe(channel, handler) {
      local.add(channel, handler);
      return { ready: Promise.resolve(), leave: () => local.remove(channel, handler) };
    },
    unsubscribe: (channel, handler) => local.remove(channel, handler),
    wantPresence(channel) {
      demand.want(channel);
      return () => demand.wantNoMore(channel);
    },
    isPresenceWanted: (kind, id) => demand.isWanted(kind, id),
  };
}

/** Handlers of this process, by channel. Most channels are a user's, and have one: a set for it would be 200 bytes. */
export class LocalHandlers {
  readonly #handlers = new Map<string, BusHandler | Set<BusHandler>>();

  add(channel: string, handler: BusHandler): void {
    const known = this.#handlers.get(channel);
    if (known === undefined) this.#handlers.set(channel, handler);
    else if (known instanceof Set) known.add(handler);
    else this.#handlers.set(channel, new Set([known, handler]));
  }

  remove(channel: string, handler: BusHandler): void {
    const known = this.#handlers.get(channel);
    if (known === handler) this.#handlers.delete(channel);
    else if (known instanceof Set && known.delete(handler) && known.size === 0) this.#handlers.delete(channel);
  }

  has(channel: string): boolean {
    return this.#handlers.has(channel);
  }

  deliver(channel: string, message: BusMessage): void {
    const known = this.#handlers.get(channel);
    if (known === undefined) return;
    if (known instanceof Set) for (const handler of known) handler(message, channel);
    else known(message, channel);
  }
}
