import type { Logger } from "../../logger.ts";
import type { TopicTotals } from "../../protocol/dashboard.ts";
import { inGroupsOf } from "./groups.ts";
import { LimitedQueue } from "./limited-queue.ts";
import type { Room } from "./room.ts";
import { RoomFailures } from "./room-failures.ts";
import type { TopicSource } from "./topic-source.ts";
import { hasTotals, KINDS_WITH_TOTALS, readTotals } from "./topic-view.ts";

/*
 * Reads the sums over learners, those of many topics in one query. No frame waits for slow sums, and a group of topics
 * that was slow is read in tenths, so that a very large course is soon read alone.
 */

/** A topic's sums are read again at most this often, and for no more than a twentieth of the time. */
const INTERVAL_MS = 1000;
const SHARE = 20;
/** How many topics are read in one query, and how many of those that were slow in a larger group. */
const TOGETHER = 100;
const SLOW_TOGETHER = 10;
/** Sums that took longer to read are slow. */
const SLOW_MS = 50;
const AT_ONCE = 3;
const RETRY_MS = 500;

export interface TotalsReaderParts {
  source: TopicSource;
  /** Sums that no frame waited for were read, or are to be tried again. */
  onLate: (room: Room) => unknown;
  logger: Logger;
}

export class TotalsReader {
  readonly #parts: TotalsReaderParts;
  readonly #failures: RoomFailures;
  readonly #queue = new LimitedQueue<readonly Room[]>(AT_ONCE, (rooms) => this.#read(rooms));

  constructor(parts: TotalsReaderParts) {
    this.#parts = parts;
    this.#failures = new RoomFailures(parts.logger, { what: ["sums over learners", "read"] });
  }

  /** Reads the sums of those rooms whose sums changed and are due. Resolves without slow ones; never rejects. */
  async readDue(rooms: readonly Room[]): Promise<void> {
    const now = performance.now();
    const due = rooms.filter((room) => room.totalsChanged && now >= room.totalsDueAt);
    for (const room of due) {
      room.totalsChanged = false;
      if (hasTotals(room.topic)) room.totalsDueAt = Number.POSITIVE_INFINITY; // until they are read
    }
    const awaited: Promise<void>[] = [];
    for (const kind of KINDS_WITH_TOTALS) {
      const ofKind = due.filter(({ topic }) => topic.kind === kind);
      for (const group of toGroups(ofKind)) {
        const read = this.#queue.add(group);
        if (!isSlow(group[0] as Room)) awaited.push(read);
        else void read.then(() => this.#tellLate(group)); // never rejects
      }
    }
    await Promise.all(awaited);
  }

  #tellLate(rooms: readonly Room[]): void {
    for (const room of rooms) this.#parts.onLate(room);
  }

  async #read(rooms: readonly Room[]): Promise<void> {
    const startedAt = performance.now();
    try {
      const totals = await readTotals(rooms, this.#parts.source);
      const now = performance.now();
      for (const room of rooms) {
        show(room, totals.get(room.name) ?? null);
        room.totalsMs = now - startedAt;
        room.totalsGroup = rooms.length;
        room.totalsDueAt = now + Math.max(INTERVAL_MS, SHARE * room.totalsMs);
      }
      this.#failures.worked(rooms);
    } catch (error) {
      this.#failures.failed(rooms, error);
      for (const room of rooms) {
        room.totalsChanged = true;
        room.totalsDueAt = performance.now() + RETRY_MS;
      }
    }
  }
}

function isSlow({ totalsMs }: Room): boolean {
  return totalsMs > SLOW_MS;
}

/** Fast rooms are read together; rooms of a large group that was slow in tenths; rooms of a small slow group one by one. */
function toGroups(rooms: readonly Room[]): Room[][] {
  const slow = rooms.filter(isSlow);
  return [
    ...inGroupsOf(
      TOGETHER,
      rooms.filter((room) => !isSlow(room)),
    ),
    ...inGroupsOf(
      SLOW_TOGETHER,
      slow.filter(({ totalsGroup }) => totalsGroup > SLOW_TOGETHER),
    ),
    ...inGroupsOf(
      1,
      slow.filter(({ totalsGroup }) => totalsGroup <= SLOW_TOGETHER),
    ),
  ];
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
