import type { PoolClient } from "../db/pool.ts";
import { lookUpFiles, lookUpRows } from "./batch-look-up.ts";
import type { DatabaseClock } from "./database-clock.ts";
import { type CatalogueFile, isStale, mergeBeat, type RowChange, type StoredRow } from "./merge-beat.ts";
import { type PendingBeat, rowKeyOf } from "./pending-beat.ts";
import type { RowMemory } from "./row-memory.ts";

/*
 * Decides a batch: what is remembered, or else looked up, and what each heartbeat makes of it.
 */

/** What becomes of one entry, when the batch is written. */
export type Decision =
  | { type: "unknown_file" }
  | { type: "straddles" }
  /** `row` is what the player is told of: `change.next`, where there is a change. */
  | { type: "merged"; file: CatalogueFile; row: StoredRow; change: RowChange | null; dropped: boolean };

export interface DecidedBatch {
  entries: readonly PendingBeat[];
  keys: readonly string[];
  decisions: Decision[];
  users: string[];
  /** By course the version of the catalogue that it was decided by. */
  courses: Map<string, number>;
  changes: RowChange[];
  kept: StoredRow[];
}

/** Files of one course that were read of two of its catalogues: no course has this version. */
const MIXED = -1;

export interface DecisionParts {
  client: PoolClient;
  memory: RowMemory;
  clock: DatabaseClock;
  /** By the process's monotonic clock. */
  now: number;
}

export async function decideBatch(parts: DecisionParts, entries: readonly PendingBeat[]): Promise<DecidedBatch> {
  const { client, memory } = parts;
  const keys = entries.map(rowKeyOf);
  const files = await findFiles(client, memory, entries);
  const rows = await findRows(client, memory, { entries, keys });
  return decide(parts, { entries, keys, files, rows });
}

/** For this batch alone: another one may make the memory forget any of them before this one is decided. */
async function findFiles(
  client: PoolClient,
  memory: RowMemory,
  entries: readonly PendingBeat[],
): Promise<Map<string, CatalogueFile>> {
  const files = new Map<string, CatalogueFile>();
  const missing = new Set<string>();
  for (const { fileId, courseId } of entries) {
    if (files.get(fileId)?.courseId === courseId) continue;
    const file = memory.file(fileId);
    if (file?.courseId === courseId) files.set(fileId, file);
    else missing.add(fileId);
  }
  if (missing.size === 0) return files;
  for (const fileId of missing) memory.forgetFile(fileId);
  for (const file of await lookUpFiles(client, [...missing])) {
    memory.setFile(file);
    files.set(file.fileId, file);
  }
  return files;
}

async function findRows(
  client: PoolClient,
  memory: RowMemory,
  { entries, keys }: { entries: readonly PendingBeat[]; keys: readonly string[] },
): Promise<(StoredRow | null)[]> {
  const rows: (StoredRow | null)[] = [];
  const missing: number[] = [];
  for (let i = 0; i < keys.length; i++) {
    const row = memory.row(keys[i] as string);
    const file = memory.file((entries[i] as PendingBeat).fileId);
    // A change of the catalogue wrote the rows that it concerns anew.
    const isKnown = row !== undefined && file !== undefined && !isStale(row, file);
    rows.push(isKnown ? row : null);
    if (!isKnown) missing.push(i);
  }
  if (missing.length === 0) return rows;
  const found = await lookUpRows(
    client,
    missing.map((i) => entries[i] as PendingBeat),
  );
  for (let i = 0; i < missing.length; i++) rows[missing[i] as number] = found[i] ?? null;
  return rows;
}

function decide(
  { clock, now }: DecisionParts,
  {
    entries,
    keys,
    files,
    rows,
  }: Pick<DecidedBatch, "entries" | "keys"> & {
    files: ReadonlyMap<string, CatalogueFile>;
    rows: (StoredRow | null)[];
  },
): DecidedBatch {
  const users = new Set<string>();
  const batch: DecidedBatch = {
    entries,
    keys,
    decisions: [],
    users: [],
    courses: new Map(),
    changes: [],
    kept: [],
  };
  const nowUs = clock.toUs(now);
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as PendingBeat;
    const file = files.get(entry.fileId);
    if (file === undefined || file.courseId !== entry.courseId) {
      batch.decisions.push({ type: "unknown_file" });
      continue;
    }
    const row = rows[i] ?? null;
    users.add(entry.userId);
    const known = batch.courses.get(file.courseId) ?? file.catalogueVersion;
    batch.courses.set(file.courseId, known === file.catalogueVersion ? known : MIXED);
    const merged = mergeBeat(row, file, entry, {
      atUs: clock.toUs(Math.min(now, entry.position.observedAtMs)),
      oldestUs: clock.toUs(Math.min(now, entry.oldestAtMs)),
      nowUs,
    });
    if (merged.type === "changed") {
      const { change } = merged;
      batch.changes.push(change);
      batch.decisions.push({ type: "merged", file, row: change.next, change, dropped: false });
      continue;
    }
    // What is not written was decided by the row as well: it is to be that row still.
    if (row !== null) batch.kept.push(row);
    batch.decisions.push(
      merged.type === "straddles"
        ? merged
        : { type: "merged", file, row: merged.row, change: null, dropped: merged.dropped },
    );
  }
  batch.users = [...users];
  return batch;
}
