import type { TopicTotals, Update } from "../protocol/dashboard.ts";
import type { Entry } from "./backlog.ts";
import { toEntries } from "./frame.ts";
import type { Room } from "./room.ts";
import type { TopicSource } from "./topic-source.ts";
import { entriesOf, entryOfStream, hasTotals, readRows, readSnapshot, readTotals } from "./topic-view.ts";

/*
 * Reads what rooms show: what changed in all of them in one query a table, and the sums of many topics in one query;
 * a whole snapshot room by room.
 */

/** Sums over all learners are read again at most so often, and never for more than a twentieth of the time. */
const TOTALS_INTERVAL_MS = 1000;
const TOTALS_SHARE = 20;
/** So many topics' sums are read together, unless the last reading of a topic took so long: then alone. */
const TOTALS_TOGETHER = 100;
const SLOW_TOTALS_MS = 50;
const CONCURRENT_READS = 3;

export interface Snapshot {
  rows: Pick<Update, "progress" | "lessons" | "courses" | "streams">;
  /** The rows, for backlogs: shared by all members that get this snapshot. */
  entries: Entry[];
  totals: TopicTotals | null;
}

/** A room's snapshot that is being read, and the one after it, for who came too late for it. */
interface Reading {
  current: Promise<Snapshot>;
  next: Promise<Snapshot> | null;
}

export class RoomReader {
  readonly #source: TopicSource;
  /** Whatever is there in place of a row that was read whole. */
  readonly #onReadAgain: (room: Room) => void;
  readonly #readings = new Map<Room, Reading>();

  constructor(source: TopicSource, onReadAgain: (room: Room) => void) {
    this.#source = source;
    this.#onReadAgain = onReadAgain;
  }

  /**
   * Reads a snapshot that begins no earlier than now: what changed before shows in it, what changes later is heard.
   * Many who come at once, as after a restart, share one.
   */
  snapshot(room: Room): Promise<Snapshot> {
    const reading = this.#readings.get(room);
    if (reading === undefined) return this.#beginSnapshot(room);
    const begin = () => this.#beginSnapshot(room);
    reading.next ??= reading.current.then(begin, begin);
    return reading.next;
  }

  #beginSnapshot(room: Room): Promise<Snapshot> {
    const reading: Reading = { current: this.#readSnapshot(room), next: null };
    this.#readings.set(room, reading);
    const end = () => {
      if (reading.next === null) this.#readings.delete(room);
    };
    reading.current.then(end, end);
    return reading.current;
  }

  async #readSnapshot({ topic, name }: Room): Promise<Snapshot> {
    const [rows, totals] = await Promise.all([
      readSnapshot(topic, this.#source),
      hasTotals(topic) ? readTotals([{ name, topic }], this.#source) : null,
    ]);
    return { rows, entries: toEntries(rows), totals: totals?.get(name) ?? null };
  }

  /** Puts what changed into the rooms' backlogs. What could not be read stays marked. */
  async read(rooms: readonly Room[]): Promise<void> {
    await this.#readChanges(rooms);
    const again = rooms.filter((room) => room.again);
    await atOnce(again, (room) => this.#readAll(room));
    const now = performance.now();
    await this.#readTotals(rooms.filter((room) => room.totalsChanged && now >= room.totalsDueAt));
  }

  async #readChanges(rooms: readonly Room[]): Promise<void> {
    const taken = rooms
      .filter((room) => room.hasChanges)
      .map((room) => {
        const { topic } = room;
        const changes = [...room.changes.values()];
        const streamChanges = [...room.streamChanges.values()];
        room.changes.clear();
        room.streamChanges.clear();
        return { room, topic, changes, streamChanges };
      });
    if (taken.length === 0) return;
    try {
      const rows = await readRows(taken, this.#source);
      for (const { room, topic, changes, streamChanges } of taken) {
        for (const key of changes) for (const entry of entriesOf(topic, key, rows)) room.backlog.put(entry);
        for (const key of streamChanges) room.backlog.put(entryOfStream(key, rows));
      }
    } catch (error) {
      for (const { room, changes, streamChanges } of taken) {
        room.changeBack(changes, streamChanges);
      }
      throw error;
    }
  }

  async #readAll(room: Room): Promise<void> {
    room.again = false;
    for (const entry of toEntries(await readSnapshot(room.topic, this.#source))) room.backlog.put(entry);
    this.#onReadAgain(room);
    room.beginsAnew = true;
    room.viewersChanged = true;
    room.totalsChanged = true;
  }

  async #readTotals(rooms: readonly Room[]): Promise<void> {
    const groups: Room[][] = [];
    const together = new Map<string, Room[]>();
    for (const room of rooms) {
      room.totalsChanged = false;
      if (!hasTotals(room.topic)) continue;
      const { kind } = room.topic;
      const group = together.get(kind);
      if (room.totalsMs > SLOW_TOTALS_MS) groups.push([room]);
      else if (group !== undefined && group.length < TOTALS_TOGETHER) group.push(room);
      else {
        const begun = [room];
        together.set(kind, begun);
        groups.push(begun);
      }
    }
    await atOnce(groups, async (group) => {
      const startedAt = performance.now();
      const totals = await readTotals(group, this.#source);
      const now = performance.now();
      for (const room of group) {
        room.totals = totals.get(room.name) ?? null;
        room.totalsMs = now - startedAt;
        room.totalsDueAt = now + Math.max(TOTALS_INTERVAL_MS, TOTALS_SHARE * room.totalsMs);
      }
    });
  }
}

/** A few at a time: after lost notifications every room reads, and others need the database as well. */
async function atOnce<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  if (items.length === 0) return;
  const queue = items.values();
  await Promise.all(
    Array.from({ length: CONCURRENT_READS }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}
