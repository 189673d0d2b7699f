import type { FileFacts } from "../catalogue/catalogue.ts";
import type { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import type { PoolClient } from "../db/pool.ts";
import { type FoundRow, lookUpRows, NOTHING_FOUND } from "./batch-look-up.ts";
import type { KeptRow } from "./batch-write.ts";
import type { DatabaseClock } from "./database-clock.ts";
import { isStale, mergeBeat, type RowChange, type StoredRow } from "./merge-beat.ts";
import { type PendingBeat, rowKeyOf } from "./pending-beat.ts";
import type { RowMemory } from "./row-memory.ts";

/*
 * Decides a batch: finds the file and the row of every entry, in memory or in the database, and merges the entry into
 * its row. Writes nothing.
 */

/** What becomes of one entry if the batch is written. */
export type Decision =
  | { type: "unknown_file" }
  | { type: "straddles" }
  /** `row` is the row after the beat: `change.next`, or the row as it is if the beat changes nothing. */
  | {
      type: "merged";
      file: FileFacts;
      row: StoredRow;
      change: RowChange | null;
      dropped: boolean;
      hasGivenUp: boolean;
    };

export interface DecidedBatch {
  entries: readonly PendingBeat[];
  keys: readonly string[];
  decisions: Decision[];
  users: string[];
  /** By course, the catalogue version that the batch was decided by. */
  courses: Map<string, number>;
  changes: RowChange[];
  kept: KeptRow[];
}

/** No course has this version: two files of the course were read from two of its catalogues, so the batch must be read anew. */
const MIXED = -1;

export interface DecisionParts {
  client: PoolClient;
  memory: RowMemory;
  catalogue: CatalogueCache;
  clock: DatabaseClock;
  /** By the process's monotonic clock, in ms. */
  now: number;
}

/** Under the locks of the batch: reads every file and row from the database, whatever is in memory. */
export async function decideAnew(parts: DecisionParts, entries: readonly PendingBeat[]): Promise<DecidedBatch> {
  const files = await parts.catalogue.loadFiles(parts.client, [...new Set(entries.map(({ fileId }) => fileId))]);
  return decide(parts, { entries, keys: entries.map(rowKeyOf), files, rows: await lookUpRows(parts.client, entries) });
}

/** Reads from the database only what is not in memory. */
export async function decideBatch(parts: DecisionParts, entries: readonly PendingBeat[]): Promise<DecidedBatch> {
  const keys = entries.map(rowKeyOf);
  const files = await findFiles(parts, entries);
  const rows = await findRows(parts, { entries, keys, files });
  return decide(parts, { entries, keys, files, rows });
}

/** A map for this batch alone: another batch may change the cache before this one is decided. */
async function findFiles(
  { client, catalogue }: DecisionParts,
  entries: readonly PendingBeat[],
): Promise<Map<string, FileFacts>> {
  const files = new Map<string, FileFacts>();
  const missing = new Set<string>();
  for (const { fileId, courseId } of entries) {
    if (files.has(fileId)) continue;
    const file = catalogue.peekFile(fileId);
    if (file?.courseId === courseId) files.set(fileId, file);
    else missing.add(fileId);
  }
  if (missing.size === 0) return files;
  for (const [fileId, file] of await catalogue.loadFiles(client, [...missing])) files.set(fileId, file);
  return files;
}

interface Found {
  entries: readonly PendingBeat[];
  keys: readonly string[];
  files: ReadonlyMap<string, FileFacts>;
  rows: FoundRow[];
}

async function findRows(
  { client, memory }: DecisionParts,
  { entries, keys, files }: Omit<Found, "rows">,
): Promise<FoundRow[]> {
  const rows: FoundRow[] = [];
  const missing: number[] = [];
  for (let i = 0; i < keys.length; i++) {
    const row = memory.row(keys[i] as string);
    const file = files.get((entries[i] as PendingBeat).fileId);
    // A change of the catalogue has written the rows that it concerns, so the remembered one is old.
    const isCurrent = row !== undefined && file !== undefined && !isStale(row, file);
    rows.push(isCurrent ? { row, mark: null } : NOTHING_FOUND);
    if (!isCurrent) missing.push(i);
  }
  if (missing.length === 0) return rows;
  const found = await lookUpRows(
    client,
    missing.map((i) => entries[i] as PendingBeat),
  );
  for (let i = 0; i < missing.length; i++) rows[missing[i] as number] = found[i] as FoundRow;
  return rows;
}

function decide({ memory, clock, now }: DecisionParts, { entries, keys, files, rows }: Found): DecidedBatch {
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
    const { userId, fileId } = entry;
    const file = files.get(fileId);
    if (file === undefined || file.courseId !== entry.courseId) {
      batch.decisions.push({ type: "unknown_file" });
      continue;
    }
    const { row, mark } = rows[i] as FoundRow;
    users.add(userId);
    const version = batch.courses.get(file.courseId) ?? file.catalogueVersion;
    batch.courses.set(file.courseId, version === file.catalogueVersion ? version : MIXED);
    const observed = {
      atUs: clock.toUs(Math.min(now, entry.position.observedAtMs)),
      oldestUs: clock.toUs(Math.min(now, entry.oldestAtMs)),
      nowUs,
      otherSeqs: row === null ? undefined : memory.otherSeqs(keys[i] as string, row, entry),
    };
    const merged = mergeBeat(row, file, entry, observed, mark);
    if (merged.type === "changed") {
      const { change } = merged;
      batch.changes.push(change);
      batch.decisions.push({
        type: "merged",
        file,
        row: change.next,
        change,
        dropped: false,
        hasGivenUp: change.hasGivenUp,
      });
      continue;
    }
    if (row !== null) batch.kept.push({ userId, fileId, row });
    batch.decisions.push(
      merged.type === "straddles"
        ? merged
        : {
            type: "merged",
            file,
            row: merged.row,
            change: null,
            dropped: merged.dropped,
            hasGivenUp: merged.hasGivenUp,
          },
    );
  }
  batch.users = [...users];
  return batch;
}
