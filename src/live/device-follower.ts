import type { Logger } from "../logger.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { type Bus, type BusHandler, channels, toUserId } from "./bus.ts";
import type { TopicSource } from "./topic-source.ts";
import { pairKey } from "./topic-view.ts";

/*
 * Tells a user's sockets what its other devices do. Every socket remembers the versions it has from its own acks;
 * only what is newer is read, and only where some socket lacks it.
 */

export interface DeviceFollowerParts {
  bus: Bus;
  source: TopicSource;
  logger: Logger;
  /** Hands the state to one socket. */
  tell: (socketId: string, progress: FileProgress) => void;
}

/** A version that some socket may lack. */
interface Heard {
  userId: string;
  fileId: string;
  version: number;
}

/**
 * What was heard within a moment. The device that played knows its version from its ack, which may come after the
 * notification: so each version waits for an interval by itself (less a moment), and not for what is left of an earlier one's.
 */
interface Batch {
  /** Until then it takes more. */
  openUntil: number;
  heard: Heard[];
}

/** The moment's share of an interval. */
const MOMENT_SHARE = 0.1;

/** A socket of a user, and the user's next one: nearly all have one, and a map for it would cost a connection 200 bytes. */
interface Device {
  readonly socketId: string;
  /** The newest version it has, by file; null while it has said nothing. */
  versions: Map<string, number> | null;
  next: Device | null;
}

export class DeviceFollowers {
  readonly #parts: DeviceFollowerParts;
  readonly #intervalMs: number;
  readonly #users = new Map<string, Device>();
  /** The oldest first; each is due an interval after it was opened. */
  readonly #batches: Batch[] = [];
  readonly #leaveBus: (() => void)[];
  #timer: NodeJS.Timeout | null = null;

  constructor(parts: DeviceFollowerParts, options: { frameIntervalMs: number }) {
    this.#parts = parts;
    this.#intervalMs = options.frameIntervalMs;
    // Too much changed to name it, or notifications may have been lost.
    this.#leaveBus = [channels.users, channels.all].map(
      (channel) => parts.bus.subscribe(channel, () => this.#readAgain()).leave,
    );
  }

  add(userId: string, socketId: string): void {
    const first = this.#users.get(userId);
    if (first === undefined) this.#parts.bus.subscribe(channels.user(userId), this.#hear);
    this.#users.set(userId, { socketId, versions: null, next: first ?? null });
  }

  remove(userId: string, socketId: string): void {
    const first = this.#users.get(userId);
    if (first === undefined) return;
    const left = without(first, socketId);
    if (left !== null) {
      this.#users.set(userId, left);
      return;
    }
    this.#users.delete(userId);
    this.#parts.bus.unsubscribe(channels.user(userId), this.#hear);
  }

  /** @returns the newest version that the socket had before; 0 where it had none */
  told(userId: string, socketId: string, fileId: string, version: number): number {
    for (let device = this.#users.get(userId) ?? null; device !== null; device = device.next) {
      if (device.socketId !== socketId) continue;
      const held = device.versions?.get(fileId) ?? 0;
      device.versions ??= new Map();
      if (held < version) device.versions.set(fileId, version);
      return held;
    }
    return 0;
  }

  stop(): void {
    for (const leave of this.#leaveBus) leave();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#batches.length = 0;
  }

  /** One for all channels. */
  readonly #hear: BusHandler = (message, channel) => {
    if (message.type !== "changed") return;
    const userId = toUserId(channel);
    for (const { fileId, version } of message.keys) {
      if (this.#isLacking(userId, fileId, version)) this.#openBatch().heard.push({ userId, fileId, version });
    }
  };

  /** Reads every file that a socket here has said something of. What no socket lacks is told to none. */
  #readAgain(): void {
    for (const [userId, first] of this.#users) {
      for (let device: Device | null = first; device !== null; device = device.next) {
        for (const fileId of device.versions?.keys() ?? []) {
          this.#openBatch().heard.push({ userId, fileId, version: Number.MAX_SAFE_INTEGER });
        }
      }
    }
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
    this.#timer ??= setTimeout(() => void this.#tellDue(), Math.max(0, dueAt - performance.now())); // never rejects
  }

  #isLacking(userId: string, fileId: string, version: number): boolean {
    for (let device = this.#users.get(userId) ?? null; device !== null; device = device.next) {
      if ((device.versions?.get(fileId) ?? 0) < version) return true;
    }
    return false;
  }

  #socketsLacking(userId: string, fileId: string, version: number): string[] {
    const lacking: string[] = [];
    for (let device = this.#users.get(userId) ?? null; device !== null; device = device.next) {
      if ((device.versions?.get(fileId) ?? 0) < version) lacking.push(device.socketId);
    }
    return lacking;
  }

  async #tellDue(): Promise<void> {
    this.#timer = null;
    const due = new Map<string, Heard>();
    // Most of the time nobody lacks anything any more.
    for (const heard of this.#batches.shift()?.heard ?? []) {
      const { userId, fileId, version } = heard;
      if (this.#isLacking(userId, fileId, version)) due.set(pairKey(userId, fileId), heard);
    }
    this.#schedule();
    if (due.size === 0) return;
    try {
      const rows = await this.#parts.source.files(
        [...due.values()].map(({ userId, fileId }) => [userId, fileId] as const),
      );
      for (const row of rows) {
        const heard = due.get(pairKey(row.userId, row.fileId))?.version ?? row.version;
        this.#tell(row, Math.min(heard, row.version));
      }
    } catch (error) {
      this.#parts.logger.warn({ err: error }, "what other devices do could not be read");
    }
  }

  /** To whoever lacks the version heard of; the row may be newer already, and then who made it so has no ack yet. */
  #tell(row: FileProgress, version: number): void {
    for (const socketId of this.#socketsLacking(row.userId, row.fileId, version)) {
      this.told(row.userId, socketId, row.fileId, row.version);
      this.#parts.tell(socketId, row);
    }
  }
}

function without(device: Device, socketId: string): Device | null {
  if (device.socketId === socketId) return device.next;
  if (device.next !== null) device.next = without(device.next, socketId);
  return device;
}
