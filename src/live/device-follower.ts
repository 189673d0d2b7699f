import type { Logger } from "../logger.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { type Bus, type BusMessage, channels } from "./bus.ts";
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

interface Follower {
  /** The newest version each socket has, by file. */
  sockets: Map<string, Map<string, number>>;
  leaveBus: () => void;
}

export class DeviceFollowers {
  readonly #parts: DeviceFollowerParts;
  readonly #intervalMs: number;
  readonly #users = new Map<string, Follower>();
  /** Versions that some socket may lack, by user and file. */
  #lacking = new Map<string, { userId: string; fileId: string; version: number }>();
  #timer: NodeJS.Timeout | null = null;

  constructor(parts: DeviceFollowerParts, options: { frameIntervalMs: number }) {
    this.#parts = parts;
    this.#intervalMs = options.frameIntervalMs;
  }

  add(userId: string, socketId: string): void {
    let follower = this.#users.get(userId);
    if (follower === undefined) {
      const leaveBus = this.#parts.bus.subscribe(channels.user(userId), (message) => this.#hear(userId, message));
      follower = { sockets: new Map(), leaveBus };
      this.#users.set(userId, follower);
    }
    follower.sockets.set(socketId, new Map());
  }

  remove(userId: string, socketId: string): void {
    const follower = this.#users.get(userId);
    if (follower === undefined) return;
    follower.sockets.delete(socketId);
    if (follower.sockets.size > 0) return;
    follower.leaveBus();
    this.#users.delete(userId);
  }

  told(userId: string, socketId: string, fileId: string, version: number): void {
    const versions = this.#users.get(userId)?.sockets.get(socketId);
    if (versions !== undefined && (versions.get(fileId) ?? 0) < version) versions.set(fileId, version);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#lacking.clear();
  }

  #hear(userId: string, message: BusMessage): void {
    if (message.type !== "changed") return;
    for (const { fileId, version } of message.keys) {
      if (this.#socketsLacking(userId, fileId, version).length === 0) continue;
      this.#lacking.set(pairKey(userId, fileId), { userId, fileId, version });
    }
    if (this.#lacking.size > 0) this.#timer ??= setTimeout(() => void this.#tellAll(), this.#intervalMs); // never rejects
  }

  #socketsLacking(userId: string, fileId: string, version: number): [string, Map<string, number>][] {
    const sockets = this.#users.get(userId)?.sockets ?? new Map<string, Map<string, number>>();
    return [...sockets].filter(([, versions]) => (versions.get(fileId) ?? 0) < version);
  }

  async #tellAll(): Promise<void> {
    this.#timer = null;
    // By now the device that played has its ack, and most of the time nobody lacks anything.
    const keys = [...this.#lacking.values()].filter((key) => this.#socketsLacking(key.userId, key.fileId, key.version).length > 0);
    this.#lacking = new Map();
    try {
      const rows = await this.#parts.source.files(keys.map((key) => [key.userId, key.fileId] as const));
      for (const row of rows) this.#tell(row);
    } catch (error) {
      this.#parts.logger.warn({ err: error }, "what other devices do could not be read");
    }
  }

  #tell(row: FileProgress): void {
    for (const [socketId, versions] of this.#socketsLacking(row.userId, row.fileId, row.version)) {
      versions.set(row.fileId, row.version);
      this.#parts.tell(socketId, row);
    }
  }
}
