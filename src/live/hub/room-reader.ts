import type { TopicTotals } from "../../protocol/dashboard.ts";
import type { Entry } from "./backlog.ts";
import { ChangedRows, toEntries } from "./changed-rows.ts";
import { toSnapshotEntries } from "./frame.ts";
import type { Room } from "./room.ts";
import type { TopicSource } from "./topic-source.ts";
import { hasTotals, readSnapshotRows, readTotals, type SnapshotRows } from "./topic-view.ts";

/*
 * Reads the rows that rooms show: changed rows for many rooms together, whole snapshots room by room.
 */

export interface Snapshot {
  rows: SnapshotRows;
  /** The rows as entries, shared by all who get this snapshot. */
  entries: readonly Entry[];
  /** Null where the topic has no sums over learners. */
  totals: TopicTotals | null;
}

/** A snapshot that is being read, and the one after it, for everybody who came too late for the first. */
interface Reading {
  current: Promise<Snapshot>;
  next: Promise<Snapshot> | null;
}

export class RoomReader {
  readonly #source: TopicSource;
  readonly #readings = new Map<Room, Reading>();

  constructor(source: TopicSource) {
    this.#source = source;
  }

  /** Puts the rows behind the rooms' changes into their backlogs. @throws where they could not be read: they stay changed */
  async readChanges(rooms: readonly Room[]): Promise<void> {
    const taken = rooms
      .filter(({ changes }) => !changes.isEmpty)
      .map((room) => ({ room, changes: room.changes.take() }));
    if (taken.length === 0) return;
    const rows = new ChangedRows();
    const wanted = taken.map(({ room, changes }) => {
      for (const key of changes.streams) rows.wantStream(key);
      return { room, changes, keys: changes.keys.map((key) => rows.want(room.topic, key)) };
    });
    try {
      await rows.read(this.#source);
    } catch (error) {
      for (const { room, changes } of taken) room.changes.putBack(changes);
      throw error;
    }
    for (const { room, changes, keys } of wanted) {
      for (const key of keys) for (const entry of toEntries(key)) room.backlog.put(entry);
      for (const key of changes.streams) room.backlog.put(rows.entryOfStream(key));
    }
  }

  /**
   * Reads a snapshot that begins no earlier than now: earlier changes show in it, later ones are heard. Everybody who
   * asks meanwhile, as after a restart, shares one.
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
      readSnapshotRows(topic, this.#source),
      hasTotals(topic) ? readTotals([{ name, topic }], this.#source) : null,
    ]);
    return { rows, entries: toSnapshotEntries(rows), totals: totals?.get(name) ?? null };
  }
}
