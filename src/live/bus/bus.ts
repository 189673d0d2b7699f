import type { PlayerState } from "../../protocol/heartbeat.ts";

/*
 * What processes tell each other. A message says which rows changed, never their state: a process that shows a row
 * reads it.
 */

/** A row of progress that changed, and the version that it has now at least. */
export interface ChangedKey {
  courseId: string;
  lessonId: string;
  fileId: string;
  userId: string;
  version: number;
}

/** A stream that changed, and the version that it has now at least. */
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
  /** Seconds. */
  position: number;
  state: PlayerState;
  rate: number;
  /** How old the position was when it was reported. */
  ageMs: number;
  /** Without another report the viewer is gone after this time. */
  leaseMs: number;
}

export type BusMessage =
  | { type: "changed"; keys: readonly ChangedKey[] }
  | { type: "streams"; keys: readonly ChangedStream[] }
  /** Too many rows changed to name them, or notifications may have been lost: rooms read everything again. */
  | { type: "again" }
  /** The relay lives: changes are told. */
  | { type: "pulse" }
  | { type: "present"; report: PresenceReport }
  /** Asks every process for its own figures of something. */
  | { type: "sum?"; question: string; id: string }
  | { type: "sum"; question: string; figures: Record<string, number> };

/** `channel` is null for changes that this process relays itself: it hears them once, for all channels together. */
export type BusListener = (message: BusMessage, channel: string | null) => void;

export interface Bus {
  /** Tells this process at once, and every other process that subscribed to the channel. */
  publish(channel: string, message: BusMessage): void;
  /** Tells which rows of progress changed: other processes in the channels of each row's course and user, this one once. */
  publishChanges(keys: readonly ChangedKey[]): void;
  /** Tells other processes that a player is there, if any of them wants its viewers. */
  publishPresence(report: PresenceReport): void;
  /**
   * The listener hears the messages of this process, and those of others in the channels that are subscribed to.
   * @returns the function that ends this
   */
  listen(listener: BusListener): () => void;
  /**
   * Each subscription needs an `unsubscribe` of its own.
   * @returns a promise that resolves when nothing is missed that others publish from then on. While the others cannot be
   * reached it resolves at once; a message `again` follows when they can.
   */
  subscribe(channel: string): Promise<void>;
  unsubscribe(channel: string): void;
  /** Asks other processes for the viewers of a course's or a user's channel: those who are there, and those who come. */
  wantPresence(channel: string): void;
  /** Ends one `wantPresence`. */
  releasePresence(channel: string): void;
}
