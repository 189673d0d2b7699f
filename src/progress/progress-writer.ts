import type { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import type { Pool, PoolClient } from "../db/pool.ts";
import { isConnectionError, isRowLocked, isTransient, sqlStateOf } from "../db/sqlstate.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { type DecidedBatch, decideAnew, decideBatch } from "./batch-decision.ts";
import { askTime } from "./batch-look-up.ts";
import { CHANGED_SINCE, LOCKS_TAKEN, type Written, writeBatch } from "./batch-write.ts";
import { DatabaseClock } from "./database-clock.ts";
import { compareBytes, type PendingBeat, rowKeyOf } from "./pending-beat.ts";
import { RowMemory } from "./row-memory.ts";
import { type BatchOutcome, type EntryOutcome, type WriteResult, writeInParts } from "./split-batch.ts";
import { WrittenBeat } from "./written-beat.ts";

/*
 * Makes batches durable. Usually a batch is decided from memory and written in one round trip. If PostgreSQL finds a row
 * or a catalogue in another version, it writes nothing, and the batch is done once more: locks first, everything read
 * under them, decided anew. Then only a statement by hand can still come between: the buffer tries the batch again.
 */

/** Somebody changed a row by hand between the look-up under the locks and the write. */
class ChangedByHand extends Error {}

export interface ProgressWriterParts {
  /** Its connections must send without waiting for answers (`pipeline` of `pg`). */
  pool: Pool;
  catalogue: CatalogueCache;
  metrics: Metrics;
  logger: Logger;
  /** The monotonic clock, in ms. */
  now?: () => number;
}

export class ProgressWriter {
  readonly #parts: ProgressWriterParts;
  readonly #now: () => number;
  #memory = new RowMemory();
  #clock = new DatabaseClock();

  constructor(parts: ProgressWriterParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
  }

  /**
   * Resolves after COMMIT, with one result for each entry. No two entries are of one row.
   * @throws errors that may pass (`isWorthRetrying`): write the batch again then; writing it twice changes nothing
   */
  async write(entries: PendingBeat[]): Promise<WriteResult[]> {
    const { metrics, logger } = this.#parts;
    const startedAt = this.#now();
    const tryToWrite = (part: PendingBeat[], lockTimeoutMs: number) => this.#tryToWrite(part, lockTimeoutMs);
    const results = await writeInParts({ tryToWrite, metrics, logger }, entries);
    metrics.batchSize.observe(entries.length);
    metrics.flushSeconds.observe((this.#now() - startedAt) / 1000);
    return results;
  }

  async #tryToWrite(entries: PendingBeat[], lockTimeoutMs: number): Promise<BatchOutcome> {
    const client = await this.#parts.pool.connect();
    let broken: Error | undefined;
    try {
      await this.#setClock(client);
      const outcome = await this.#attempt(() => this.#writeRemembered(client, entries, lockTimeoutMs));
      if (outcome.type !== "changed") return outcome;
      const again = await this.#attempt(() => this.#writeAnew(client, entries, lockTimeoutMs));
      if (again.type !== "changed") return again;
      throw new ChangedByHand("a row changed between the look-up under the locks and the write");
    } catch (error) {
      if (isConnectionError(error)) broken = error as Error;
      // The batch may be committed all the same. Then the remembered rows are old.
      for (const entry of entries) this.#memory.forgetRow(rowKeyOf(entry));
      throw error;
    } finally {
      client.release(broken);
    }
  }

  /** Another database answers from now on: it may lack rows that are remembered, and its clock is another. */
  forgetAll(): void {
    this.#memory = new RowMemory();
    this.#clock = new DatabaseClock();
  }

  /** These users were deleted. Their rows are gone, so nothing depends on this; it frees what is known of them. */
  forgetUsers(isForgotten: (userId: string) => boolean): void {
    this.#memory.forgetUsers(isForgotten);
  }

  /** @throws errors that may pass */
  async #attempt(write: () => Promise<EntryOutcome[]>): Promise<BatchOutcome | { type: "changed" }> {
    try {
      return { type: "written", entries: await write() };
    } catch (error) {
      const state = sqlStateOf(error);
      if (state === CHANGED_SINCE) return { type: "changed" };
      if (state === LOCKS_TAKEN) return { type: "locked" };
      if (isOfTheBatch(error)) return { type: "failed", error };
      throw error;
    }
  }

  async #writeRemembered(client: PoolClient, entries: PendingBeat[], lockTimeoutMs: number): Promise<EntryOutcome[]> {
    const batch = await decideBatch(this.#decisionParts(client), entries);
    return this.#settle(batch, await this.#writeDecided(client, batch, { lockTimeoutMs, isBegun: false }));
  }

  async #writeAnew(client: PoolClient, entries: PendingBeat[], lockTimeoutMs: number): Promise<EntryOutcome[]> {
    const before = entries.map((entry) => ({
      row: this.#memory.row(rowKeyOf(entry)),
      file: this.#parts.catalogue.peekFile(entry.fileId),
    }));
    for (const entry of entries) this.#memory.forgetRow(rowKeyOf(entry));
    await client.query("BEGIN");
    let batch: DecidedBatch;
    try {
      const users = [...new Set(entries.map(({ userId }) => userId))];
      const courses = [...new Set(entries.map(({ courseId }) => courseId))];
      await client.query("SELECT lock_batch($1, $2, $3)", [`${lockTimeoutMs}ms`, users, courses]);
      batch = await decideAnew(this.#decisionParts(client), entries);
    } catch (error) {
      // A connection that is lost has no transaction to roll back. If ROLLBACK fails, that is the error to throw.
      if (!isConnectionError(error)) await client.query("ROLLBACK");
      throw error;
    }
    const written = await this.#writeDecided(client, batch, { lockTimeoutMs, isBegun: true }).catch(async (error) => {
      // Nothing was sent: without this the connection would stay in the transaction, and keep its locks.
      if (error instanceof RangeError) await client.query("ROLLBACK");
      throw error;
    });
    for (const [i, decision] of batch.decisions.entries()) {
      const { row, file } = before[i] ?? {};
      if (decision.type !== "merged" || !row || !file) continue;
      const found = decision.change === null ? decision.row : decision.change.old;
      const isByCatalogue = decision.file.catalogueVersion !== file.catalogueVersion;
      if (found?.version !== row.version && !isByCatalogue) this.#memory.setShared((entries[i] as PendingBeat).userId);
    }
    return this.#settle(batch, written);
  }

  #decisionParts(client: PoolClient) {
    const { catalogue } = this.#parts;
    return { client, catalogue, memory: this.#memory, clock: this.#clock, now: this.#now() };
  }

  async #setClock(client: PoolClient): Promise<void> {
    const sentAt = this.#now();
    if (!this.#clock.isSet(sentAt)) this.#clock.sample(sentAt, await askTime(client));
  }

  /** Null if the batch writes nothing and was decided by no row: then there is nothing to check either. */
  async #writeDecided(
    client: PoolClient,
    batch: DecidedBatch,
    options: { lockTimeoutMs: number; isBegun: boolean },
  ): Promise<Written | null> {
    if (batch.changes.length === 0 && batch.kept.length === 0) {
      if (options.isBegun) await client.query("COMMIT");
      return null;
    }
    const sentAt = this.#now();
    const written = await writeBatch(client, batch, options);
    this.#clock.sample(sentAt, written.databaseSeconds);
    return written;
  }

  /** After COMMIT: remembers the rows and makes the answers. */
  #settle(batch: DecidedBatch, written: Written | null): EntryOutcome[] {
    return batch.decisions.map((decision, i): EntryOutcome => {
      if (decision.type !== "merged") return decision;
      const { row, change, dropped } = decision;
      const entry = batch.entries[i] as PendingBeat;
      if (change !== null && written !== null) row.version = written.version;
      // A beat may be dropped by a mark: then there is no row.
      if (dropped) this.#parts.metrics.droppedBeats.inc();
      else {
        const key = batch.keys[i] as string;
        this.#memory.setRow(entry.userId, key, row);
        this.#memory.noteSessions(key, entry, change === null ? row : change.old, row);
      }
      return new WrittenBeat(entry, decision);
    });
  }
}

/** out_of_memory: also where the table of locks is full. A smaller batch needs fewer locks. */
const OUT_OF_MEMORY = "53200";

/** Whether PostgreSQL, or the writing of parameters, refused the batch for something in it. */
function isOfTheBatch(error: unknown): boolean {
  // A number that does not fit its column.
  if (error instanceof RangeError) return true;
  const state = sqlStateOf(error);
  return isRowLocked(error) || state === OUT_OF_MEMORY || (state !== undefined && !isTransient(error));
}

/** Whether a `write` that failed may succeed when the same batch is written again. */
export function isWorthRetrying(error: unknown): boolean {
  return error instanceof ChangedByHand || isTransient(error);
}

/** Orders entries as rows are locked everywhere: by user, then by file. */
export function byRow(a: PendingBeat, b: PendingBeat): number {
  return compareBytes(a.userId, b.userId) || compareBytes(a.fileId, b.fileId);
}
