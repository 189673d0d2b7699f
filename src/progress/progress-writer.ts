import type { Pool, PoolClient } from "../db/pool.ts";
import { isConnectionError, isTransient, sqlStateOf } from "../db/sqlstate.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { type DecidedBatch, decideBatch } from "./batch-decision.ts";
import { askTime } from "./batch-look-up.ts";
import { writeBatch } from "./batch-write.ts";
import { DatabaseClock } from "./database-clock.ts";
import { settleRow, toAnswer } from "./merge-beat.ts";
import { compareBytes, type PendingBeat, rowKeyOf } from "./pending-beat.ts";
import { RowMemory } from "./row-memory.ts";

/*
 * Makes batches durable. A batch is decided by what this process remembers of its rows, or else reads, and written by one
 * call that checks that all is still as it was: usually the only one that the database hears of it.
 *
 *   decided by memory ── written ──▶ COMMIT
 *           │ something is not as it was: nothing is written
 *           ▼
 *   locked, all read anew, decided again ── written ──▶ COMMIT
 *           │ somebody wrote by hand meanwhile
 *           ▼
 *   RowRaced: the buffer tries again
 *
 * A batch that fails for a reason of its own is split, so that one bad row cannot hold the others back.
 */

/** What became of one entry of a batch. */
export type WriteResult =
  /** `dropped`: a reset came after it was observed; nothing was credited, and there is nothing to send again. */
  | { type: "written"; progress: FileProgress; dropped: boolean }
  /** The file left the catalogue, or moved to another course, after the entry was accepted. */
  | { type: "unknown_file" }
  | { type: "failed"; error: AppError };

/** What was made of an entry: done with, or to be taken apart. */
type Outcome = WriteResult | { type: "straddles" };

/** Locks that others hold make a batch wait this long, then it is split around them. */
const LOCK_TIMEOUT_MS = 2000;
/** A batch whose locks were busy for so long is tried again course by course, without waiting. */
const BUSY_LOCK_TIMEOUT_MS = 50;
const SPLIT_INTO = 8;
/** A row that somebody holds locked: worth another try by the client. */
const LOCKED_RETRY_MS = 2000;

const LOCK_NOT_AVAILABLE = "55P03";
const QUERY_CANCELED = "57014";
const FOREIGN_KEY_VIOLATION = "23503";

/** Of `write_beats` (migration 0008). */
const LOCKS_TAKEN = "PH001";
const NOT_AS_DECIDED = "PH002";

/** A row changed between the look at it and the write: somebody writes by hand. Another try sees it. */
class RowRaced extends Error {}

export interface ProgressWriterParts {
  pool: Pool;
  metrics: Metrics;
  logger: Logger;
  now?: () => number;
}

export class ProgressWriter {
  readonly #parts: ProgressWriterParts;
  readonly #now: () => number;
  readonly #memory = new RowMemory();
  readonly #clock = new DatabaseClock();

  constructor(parts: ProgressWriterParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
  }

  /**
   * Resolves after COMMIT, with one result an entry. The entries are of distinct rows.
   * @throws what is transient: the whole may be tried again, writing twice changes nothing.
   */
  async write(entries: PendingBeat[]): Promise<WriteResult[]> {
    const startedAt = this.#now();
    const results = await this.#writeOrSplit(entries);
    this.#parts.metrics.batchSize.observe(entries.length);
    this.#parts.metrics.flushSeconds.observe((this.#now() - startedAt) / 1000);
    return results;
  }

  async #writeOrSplit(entries: PendingBeat[]): Promise<WriteResult[]> {
    try {
      return await this.#writeParts(entries, await this.#writeOnce(entries, LOCK_TIMEOUT_MS));
    } catch (error) {
      if (error instanceof LocksBusy) return this.#writeByCourse(entries);
      if (!shouldSplit(error)) throw error;
      if (entries.length === 1) return [this.#toFailure(error, entries[0] as PendingBeat)];
      this.#parts.metrics.flushRetries.inc({ sqlstate: sqlStateOf(error) ?? "none" });
      const size = Math.ceil(entries.length / SPLIT_INTO);
      const results: WriteResult[] = [];
      for (let i = 0; i < entries.length; i += size) {
        results.push(...(await this.#writeOrSplit(entries.slice(i, i + size))));
      }
      return results;
    }
  }

  /** Beats that a reset parts were merged before it was known of: they are written one by one. */
  async #writeParts(entries: PendingBeat[], outcomes: Outcome[]): Promise<WriteResult[]> {
    const results: WriteResult[] = [];
    for (const [i, outcome] of outcomes.entries()) {
      let result = outcome.type === "straddles" ? null : outcome;
      for (const part of result === null ? (entries[i] as PendingBeat).parts : []) {
        [result = null] = await this.#writeOrSplit([part]);
      }
      results.push(result ?? { type: "unknown_file" });
    }
    return results;
  }

  /** One course's lock is held, by a change of it that takes its time: the others do not wait with it. */
  async #writeByCourse(entries: PendingBeat[]): Promise<WriteResult[]> {
    const results = new Map<PendingBeat, WriteResult>();
    for (const courseId of new Set(entries.map((entry) => entry.courseId))) {
      const group = entries.filter((entry) => entry.courseId === courseId);
      const written = await this.#writeGroup(group).catch((error: unknown) => {
        if (!(error instanceof LocksBusy)) throw error;
        return group.map((): WriteResult => ({ type: "failed", error: courseBusy(error) }));
      });
      for (const [i, entry] of group.entries()) results.set(entry, written[i] as WriteResult);
    }
    return entries.map((entry) => results.get(entry) as WriteResult);
  }

  async #writeGroup(entries: PendingBeat[]): Promise<WriteResult[]> {
    return this.#writeParts(entries, await this.#writeOnce(entries, BUSY_LOCK_TIMEOUT_MS));
  }

  #toFailure(error: unknown, entry: PendingBeat): WriteResult {
    const state = sqlStateOf(error);
    if (state === FOREIGN_KEY_VIOLATION) return { type: "unknown_file" };
    if (state === LOCK_NOT_AVAILABLE || state === QUERY_CANCELED) {
      const message = "The progress of this file is locked in the database; send it again later.";
      return {
        type: "failed",
        error: new AppError("unavailable", message, { retryAfterMs: LOCKED_RETRY_MS, cause: error }),
      };
    }
    this.#parts.logger.error(
      { err: error, userId: entry.userId, fileId: entry.fileId },
      "a heartbeat could not be written",
    );
    return {
      type: "failed",
      error: new AppError("internal", "This heartbeat could not be written.", { cause: error }),
    };
  }

  async #writeOnce(entries: PendingBeat[], lockTimeoutMs: number): Promise<Outcome[]> {
    const client = await this.#parts.pool.connect();
    let broken: Error | undefined;
    try {
      if (!this.#clock.isSet(this.#now())) {
        const sentAt = this.#now();
        this.#clock.sample(sentAt, await askTime(client));
      }
      return (
        (await this.#writeRemembered(client, entries, lockTimeoutMs)) ??
        (await this.#writeLocked(client, entries, lockTimeoutMs))
      );
    } catch (error) {
      if (isConnectionError(error)) broken = error as Error;
      throw sqlStateOf(error) === LOCKS_TAKEN ? new LocksBusy("the batch's locks are taken", { cause: error }) : error;
    } finally {
      client.release(broken);
    }
  }

  /** One call, a transaction by itself. Null where something was not as it was decided by. */
  async #writeRemembered(client: PoolClient, entries: PendingBeat[], lockTimeoutMs: number): Promise<Outcome[] | null> {
    const batch = await this.#decide(client, entries);
    try {
      const written = await this.#writeDecided(client, batch, { lockTimeoutMs, upsertEverySum: false });
      return this.#settle(batch, written);
    } catch (error) {
      if (sqlStateOf(error) === NOT_AS_DECIDED) return null;
      throw error;
    }
  }

  /** Under the locks nobody but a stranger's hand changes what is read. */
  async #writeLocked(client: PoolClient, entries: PendingBeat[], lockTimeoutMs: number): Promise<Outcome[]> {
    const users = entries.map((entry) => entry.userId);
    const courses = [...new Set(entries.map((entry) => entry.courseId))];
    await client.query("BEGIN");
    try {
      await takeLocks(client, [users, courses, `${lockTimeoutMs}ms`]);
      const remembered = entries.map((entry) => ({
        version: this.#memory.row(rowKeyOf(entry))?.version,
        catalogueVersion: this.#memory.file(entry.fileId)?.catalogueVersion,
      }));
      for (const entry of entries) {
        this.#memory.forgetFile(entry.fileId);
        this.#memory.forgetRow(rowKeyOf(entry));
      }
      const batch = await this.#decide(client, entries);
      const written = await this.#writeDecided(client, batch, { lockTimeoutMs, upsertEverySum: true });
      await client.query("COMMIT");
      for (const [i, decision] of batch.decisions.entries()) {
        const { version, catalogueVersion } = remembered[i] ?? {};
        if (decision.type !== "merged" || version === undefined) continue;
        const found = decision.change === null ? decision.row : decision.change.old;
        const isByCatalogue = decision.file.catalogueVersion !== catalogueVersion;
        if (found?.version !== version && !isByCatalogue) this.#memory.setShared((entries[i] as PendingBeat).userId);
      }
      return this.#settle(batch, written);
    } catch (error) {
      // Where that fails, it is what is thrown: the connection is of no use any more.
      if (!isConnectionError(error)) await client.query("ROLLBACK");
      throw sqlStateOf(error) === NOT_AS_DECIDED
        ? new RowRaced("a row changed between the look at it and the write", { cause: error })
        : error;
    }
  }

  #decide(client: PoolClient, entries: PendingBeat[]): Promise<DecidedBatch> {
    return decideBatch({ client, memory: this.#memory, clock: this.#clock, now: this.#now() }, entries);
  }

  /** The version of what was written; null where nothing was to be. */
  async #writeDecided(
    client: PoolClient,
    batch: DecidedBatch,
    how: { lockTimeoutMs: number; upsertEverySum: boolean },
  ): Promise<{ version: number; newIds: number[] } | null> {
    if (batch.changes.length === 0 && batch.kept.length === 0) return null;
    const sentAt = this.#now();
    const written = await writeBatch(client, { ...batch, ...how });
    this.#clock.sample(sentAt, written.databaseSeconds);
    return written;
  }

  /** After COMMIT: remembers the rows, and answers. */
  #settle(batch: DecidedBatch, written: { version: number; newIds: number[] } | null): Outcome[] {
    let news = 0;
    return batch.decisions.map((decision, i): Outcome => {
      if (decision.type !== "merged") return decision;
      const { row, file, change, dropped } = decision;
      const entry = batch.entries[i] as PendingBeat;
      const key = batch.keys[i] as string;
      if (change === null || written === null) this.#memory.setRow(entry.userId, key, row);
      else {
        const newId = change.old === null ? (written.newIds[news++] as number) : 0;
        this.#memory.setRow(entry.userId, key, settleRow(change, { version: written.version, newId }));
      }
      if (dropped) this.#parts.metrics.droppedBeats.inc();
      return { type: "written", dropped, progress: toAnswer(entry, row, file) };
    });
  }
}

/** The locks of a batch were held by another for too long: no row of it is at fault. */
class LocksBusy extends Error {}

function courseBusy(cause: LocksBusy): AppError {
  const message = "The course, or the progress of a learner in it, is being changed; send it again later.";
  return new AppError("unavailable", message, { retryAfterMs: LOCKED_RETRY_MS, cause });
}

const LOCK_STATEMENT = "SELECT set_config('lock_timeout', $3, true), lock_writers('beats', $1::text[], $2::text[])";

async function takeLocks(client: PoolClient, values: [users: string[], courses: string[], timeout: string]) {
  try {
    await client.query(LOCK_STATEMENT, values);
  } catch (error) {
    // Somebody changes a course, or another node writes these users: nothing in the batch is at fault.
    throw sqlStateOf(error) === LOCK_NOT_AVAILABLE
      ? new LocksBusy("the batch's locks are taken", { cause: error })
      : error;
  }
}

function shouldSplit(error: unknown): boolean {
  if (error instanceof RowRaced) return false;
  // A number of a row that no column takes.
  if (error instanceof RangeError) return true;
  const state = sqlStateOf(error);
  if (state === LOCK_NOT_AVAILABLE || state === QUERY_CANCELED) return true;
  return state !== undefined && !isTransient(error);
}

/** Whether a failed `write` may be tried again as it is. */
export function isWorthRetrying(error: unknown): boolean {
  return error instanceof RowRaced || isTransient(error);
}

/** Orders entries as rows are locked everywhere: by user, then file. */
export function byRow(a: PendingBeat, b: PendingBeat): number {
  return compareBytes(a.userId, b.userId) || compareBytes(a.fileId, b.fileId);
}
