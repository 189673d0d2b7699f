import { createGuard, type Guard } from "../../guard.ts";
import type { Logger } from "../../logger.ts";
import type { FileProgress } from "../../protocol/progress.ts";
import type { Bus, BusMessage, ChangedKey } from "../bus/bus.ts";
import { channels, isUserChannel } from "../bus/channels.ts";
import type { Pair, TopicSource } from "../hub/topic-source.ts";
import { Devices } from "./devices.ts";

/*
 * Tells a user's sockets of the progress of its other devices. Each socket's own acks say which versions it has. Only a
 * newer version is read, and told only to sockets that lack it.
 */

export interface DeviceFollowerParts {
  bus: Bus;
  source: Pick<TopicSource, "files">;
  logger: Logger;
  /** Sends a state to one socket. */
  tell: (socketId: string, progress: FileProgress) => void;
}

/** A version of a row that some socket may lack. */
type Heard = Pick<ChangedKey, "userId" | "fileId" | "version">;

/**
 * Versions that were heard within a moment. The device that played learns its version from its ack, which may come after
 * the notification; so a version is looked at only an interval later (less a moment).
 */
interface Batch {
  /** Until then it takes more. */
  openUntil: number;
  heard: Heard[];
}

/** The moment's share of an interval. */
const MOMENT_SHARE = 0.1;

export class DeviceFollowers {
  readonly #parts: DeviceFollowerParts;
  readonly #intervalMs: number;
  readonly #devices = new Devices();
  /** The oldest first. Each is due an interval after it was opened. */
  readonly #batches: Batch[] = [];
  readonly #leaveBus: () => void;
  readonly #guard: Guard;
  #timer: NodeJS.Timeout | null = null;
  #isAway = false;

  constructor(parts: DeviceFollowerParts, { frameIntervalMs }: { frameIntervalMs: number }) {
    this.#parts = parts;
    this.#guard = createGuard(parts.logger);
    this.#intervalMs = frameIntervalMs;
    this.#leaveBus = parts.bus.listen((message, channel) => this.#hear(message, channel));
    for (const channel of [channels.users, channels.all]) void parts.bus.subscribe(channel); // never rejects
  }

  /** A socket of the user is connected. */
  add(userId: string, socketId: string): void {
    if (this.#devices.add(userId, socketId)) void this.#parts.bus.subscribe(channels.user(userId)); // never rejects
  }

  remove(userId: string, socketId: string): void {
    if (this.#devices.remove(userId, socketId)) this.#parts.bus.unsubscribe(channels.user(userId));
  }

  /**
   * The socket has this version of the file, from its own ack.
   * @returns the newest version that it had before; 0 where it had none
   */
  told(userId: string, socketId: string, fileId: string, version: number): number {
    return this.#devices.told(userId, socketId, fileId, version);
  }

  stop(): void {
    this.#leaveBus();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#batches.length = 0;
  }

  #hear(message: BusMessage, channel: string | null): void {
    if (message.type === "again" && (channel === channels.users || channel === channels.all)) this.#readAgain();
    // The same keys come in the course's channel as well.
    if (message.type !== "changed" || !(channel === null || isUserChannel(channel))) return;
    for (const key of message.keys) {
      if (this.#devices.isLacking(key.userId, key.fileId, key.version)) this.#openBatch().heard.push(key);
    }
  }

  /** Too much changed to name it, or notifications may have been lost: every file is read that a socket here has played. */
  #readAgain(): void {
    for (const { userId, fileId } of this.#devices.played())
      this.#openBatch().heard.push({ userId, fileId, version: Number.MAX_SAFE_INTEGER });
  }

  #openBatch(): Batch {
    const now = performance.now();
    const last = this.#batches.at(-1);
    if (last !== undefined && now < last.openUntil) return last;
    const batch = { openUntil: now + this.#intervalMs * MOMENT_SHARE, heard: [] };
    this.#batches.push(batch);
    this.#schedule();
    return batch;
  }

  #schedule(): void {
    const [first] = this.#batches;
    if (first === undefined) return;
    const dueAt = first.openUntil + this.#intervalMs * (1 - MOMENT_SHARE);
    this.#timer ??= setTimeout(
      () => this.#guard("telling devices of each other", () => this.#tellDue()),
      Math.max(0, dueAt - performance.now()),
    );
  }

  async #tellDue(): Promise<void> {
    this.#timer = null;
    // By now nearly every version was acked to the only device that its user has.
    const due = (this.#batches.shift()?.heard ?? []).filter(({ userId, fileId, version }) =>
      this.#devices.isLacking(userId, fileId, version),
    );
    this.#schedule();
    if (due.length === 0) return;
    const byRow = new Map(due.map((heard) => [rowKey(heard), heard]));
    const keys = [...byRow.values()].map(({ userId, fileId }): Pair => [userId, fileId]);
    for (const row of await this.#readFiles(keys)) {
      const heard = byRow.get(rowKey(row))?.version ?? row.version;
      this.#tell(row, Math.min(heard, row.version));
    }
  }

  /** Nothing where the database is away: the listener has everything read again once it is back. */
  async #readFiles(keys: Pair[]): Promise<FileProgress[]> {
    try {
      const rows = await this.#parts.source.files(keys);
      this.#isAway = false;
      return rows;
    } catch (error) {
      // One line a state.
      const level = this.#isAway ? "debug" : "warn";
      this.#parts.logger[level]({ err: error }, "progress of other devices could not be read");
      this.#isAway = true;
      return [];
    }
  }

  /** Tells sockets that lack the version that was heard. The row may be newer: its writer may be waiting for its ack. */
  #tell(row: FileProgress, version: number): void {
    const { userId, fileId } = row;
    for (const socketId of this.#devices.lacking(userId, fileId, version)) {
      this.#devices.told(userId, socketId, fileId, row.version);
      this.#parts.tell(socketId, row);
    }
  }
}

function rowKey({ userId, fileId }: { userId: string; fileId: string }): string {
  return `${userId}\u0000${fileId}`;
}
