import type { Logger } from "../logger.ts";
import type { TopicTotals } from "../protocol/dashboard.ts";
import { LimitedQueue } from "./limited-queue.ts";
import type { Room } from "./room.ts";
import type { TopicSource } from "./topic-source.ts";
import { hasTotals, readTotals } from "./topic-view.ts";

/*
 * Reads the sums over learners, those of many topics in one query. A topic whose sums take long is read alone, and no
 * frame waits for it.
 */

/** A topic's sums are read again at most this often, and for no more than a twentieth of the time. */
const INTERVAL_MS = 1000;
const SHARE = 20;
const MOST_TOGETHER = 100;
/** Sums that took longer to read are slow. */
const SLOW_MS = 50;
const AT_ONCE = 3;
const RETRY_MS = 500;

export interface TotalsReaderParts {
  source: TopicSource;
  /** Sums that no frame waited for were read, or are to be tried again. */
  onLate: (room: Room) => void;
  logger: Logger;
}

export class TotalsReader {
  readonly #parts: TotalsReaderParts;
  readonly #queue = new LimitedQueue<readonly Room[]>(AT_ONCE, (rooms) => this.#read(rooms));

  constructor(parts: TotalsReaderParts) {
    this.#parts = parts;
  }

  /** Reads the sums of those rooms whose sums changed and are due. Resolves without slow ones; never rejects. */
  async readDue(rooms: readonly Room[]): Promise<void> {
    const now = performance.now();
    const awaited: Promise<void>[] = [];
    const together = new Map<string, Room[]>();
    for (const room of rooms) {
      if (!room.totalsChanged || now < room.totalsDueAt) continue;
      room.totalsChanged = false;
      if (!hasTotals(room.topic)) continue;
      room.totalsDueAt = Number.POSITIVE_INFINITY; // until they are read
      const { kind } = room.topic;
      const group = together.get(kind);
      if (room.totalsMs > SLOW_MS) void this.#queue.add([room]).then(() => this.#parts.onLate(room));
      else if (group === undefined) together.set(kind, [room]);
      else if (group.push(room) === MOST_TOGETHER) {
        together.delete(kind);
        awaited.push(this.#queue.add(group));
      }
    }
    for (const group of together.values()) awaited.push(this.#queue.add(group));
    await Promise.all(awaited);
  }

  async #read(rooms: readonly Room[]): Promise<void> {
    const startedAt = performance.now();
    try {
      const totals = await readTotals(rooms, this.#parts.source);
      const now = performance.now();
      for (const room of rooms) {
        show(room, totals.get(room.name) ?? null);
        room.totalsMs = now - startedAt;
        room.totalsDueAt = now + Math.max(INTERVAL_MS, SHARE * room.totalsMs);
      }
    } catch (error) {
      this.#parts.logger.warn({ err: error }, "sums over learners could not be read; they will be tried again");
      for (const room of rooms) {
        room.totalsChanged = true;
        room.totalsDueAt = performance.now() + RETRY_MS;
      }
    }
  }
}

/** Sums that all members have already are not sent again. */
function show(room: Room, totals: TopicTotals | null): void {
  const shown = room.shownTotals;
  room.shownTotals = totals;
  if (totals === null) return;
  const isShown =
    shown?.learners === totals.learners &&
    shown.completed === totals.completed &&
    shown.percentage === totals.percentage;
  if (!isShown) room.totals = totals;
}
