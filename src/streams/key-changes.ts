import { GatheredLoads } from "../db/gathered-loads.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { KeyCache } from "./keys/key-cache.ts";
import type { DropTeller } from "./sessions/drop-teller.ts";
import type { DroppedOf } from "./sessions/dropped-sessions-sql.ts";
import type { SessionDrop } from "./sessions/session-drop.ts";

const RETRY_MS = 1000;

/** What the triggers of `streams` and `stream_sessions` notify (migrations). */
export interface KeyNotification {
  streamId: string;
  /** A session that was deleted while it was live. */
  drop?: SessionDrop;
}

export interface KeyChangesParts {
  keys: KeyCache;
  drops: DropTeller;
  findDrops: (of: DroppedOf) => Promise<SessionDrop[]>;
  metrics: Pick<Metrics, "streamChanges">;
  logger: Logger;
}

/**
 * Follows notifications that a stream's key, its worth, or its session has changed: reads the key again, and tells
 * media servers which sessions to drop. Streams that change while one read is under way share the next read. After a
 * failure everything is read again, until that succeeds: a media server that is not told goes on publishing.
 */
export class KeyChanges {
  readonly #parts: KeyChangesParts;
  readonly #changed = new GatheredLoads((streamIds) => this.#attempt(() => this.#follow(streamIds)));
  #hasListened = false;
  #isStopped = false;
  #isFailing = false;
  #retry: NodeJS.Timeout | null = null;

  constructor(parts: KeyChangesParts) {
    this.#parts = parts;
  }

  onNotified({ streamId, drop }: KeyNotification): void {
    const { keys, drops } = this.#parts;
    keys.forgetStream(streamId);
    if (drop !== undefined) void this.#attempt(() => drops.dropAll([drop])); // never rejects
    void this.#changed.load(streamId); // never rejects
  }

  /** Notifications may have been lost before this moment. */
  onListening(): void {
    // At the start no media server is connected; each one is told what it missed when it connects.
    void this.#attempt(() => (this.#hasListened ? this.#followAll() : this.#skipAll())); // never rejects
    this.#hasListened = true;
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
  }

  async #follow(streamIds: string[]): Promise<void> {
    const { keys, findDrops, metrics } = this.#parts;
    await Promise.all([findDrops({ streamIds }).then((found) => this.#startDrops(found)), keys.refreshForgotten()]);
    metrics.streamChanges.inc(streamIds.length);
  }

  async #followAll(): Promise<void> {
    const { keys, findDrops } = this.#parts;
    await Promise.all([findDrops("all").then((found) => this.#startDrops(found)), keys.refreshAll()]);
  }

  /** Does not wait: a slow nginx must not hold up the changes of other streams. */
  #startDrops(found: SessionDrop[]): void {
    void this.#attempt(() => this.#parts.drops.dropAll(found)); // never rejects
  }

  async #skipAll(): Promise<void> {
    this.#parts.drops.skip(await this.#parts.findDrops("all"));
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#isFailing = false;
    } catch (error) {
      if (this.#isStopped) return;
      // One line a state: it is tried every second.
      const level = this.#isFailing ? "debug" : "warn";
      this.#isFailing = true;
      this.#parts.logger[level](
        { err: error },
        "changes of stream keys could not be followed; tried again in a second",
      );
      this.#retry ??= setTimeout(() => {
        this.#retry = null;
        void this.#attempt(() => this.#followAll()); // never rejects
      }, RETRY_MS).unref();
    }
  }
}
