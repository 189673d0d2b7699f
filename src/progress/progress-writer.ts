import { toPlainArray, toTextArray } from "../db/array-literal.ts";
import type { Pool, PoolClient } from "../db/pool.ts";
import { isConnectionError, isTransient, sqlStateOf } from "../db/sqlstate.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { BATCH_STATEMENT } from "./batch-statement.ts";
import { compareBytes, type PendingBeat } from "./pending-beat.ts";
import { type ProgressRow, toFileProgress } from "./progress-rows.ts";
import { toMultirange } from "./watched-ranges.ts";

/*
 * Makes batches durable: one transaction, in it one statement that takes the locks and one that writes. A batch that
 * fails for a reason of its own is split, so that one bad row cannot hold the others back.
 */

/** What became of one entry of a batch. */
export type WriteResult =
  /** `dropped`: a reset came after it was observed; nothing was credited, and there is nothing to send again. */
  | { type: "written"; progress: FileProgress; dropped: boolean }
  /** The file left the catalogue, or moved to another course, after the entry was accepted. */
  | { type: "unknown_file" }
  | { type: "failed"; error: AppError };

/** What the statement made of an entry: done with, or to be taken apart. */
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

/** A row appeared between the look at it and the write: somebody writes by hand. Another try sees it. */
class RowRaced extends Error {}

interface BatchRow extends Omit<ProgressRow, "userId" | "fileId" | "courseId"> {
  ord: number;
  dropped: boolean;
  straddles: boolean;
  changed: boolean;
  written: number;
}

export interface ProgressWriterParts {
  pool: Pool;
  metrics: Metrics;
  logger: Logger;
  now?: () => number;
}

export class ProgressWriter {
  readonly #parts: ProgressWriterParts;
  readonly #now: () => number;

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
      return await this.#transact(client, entries, lockTimeoutMs);
    } catch (error) {
      if (isConnectionError(error)) broken = error as Error;
      else {
        await client.query("ROLLBACK").catch((failure: Error) => {
          broken = failure;
        });
      }
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async #transact(client: PoolClient, entries: PendingBeat[], lockTimeoutMs: number): Promise<Outcome[]> {
    const users = entries.map((entry) => entry.userId);
    const courses = [...new Set(entries.map((entry) => entry.courseId))];
    await client.query("BEGIN");
    try {
      await client.query(LOCK_STATEMENT, [users, courses, `${lockTimeoutMs}ms`]);
    } catch (error) {
      // Somebody changes a course, or another node writes these users: nothing in the batch is at fault.
      throw sqlStateOf(error) === LOCK_NOT_AVAILABLE
        ? new LocksBusy("the batch's locks are taken", { cause: error })
        : error;
    }
    const { rows } = await client.query<BatchRow>({
      name: "write-batch",
      text: BATCH_STATEMENT,
      values: toParameters(entries, this.#now()),
    });
    const changed = rows.reduce((count, row) => count + (row.changed ? 1 : 0), 0);
    if (changed !== (rows[0]?.written ?? 0)) throw new RowRaced("a row appeared between the look at it and the write");
    await client.query("COMMIT");
    return this.#toOutcomes(entries, rows);
  }

  #toOutcomes(entries: PendingBeat[], rows: BatchRow[]): Outcome[] {
    const outcomes: Outcome[] = entries.map(() => ({ type: "unknown_file" }));
    for (const row of rows) {
      const entry = entries[row.ord - 1] as PendingBeat;
      if (row.dropped) this.#parts.metrics.droppedBeats.inc();
      outcomes[row.ord - 1] = row.straddles
        ? { type: "straddles" }
        : { type: "written", dropped: row.dropped, progress: toFileProgress(Object.assign(row, toIds(entry))) };
    }
    return outcomes;
  }
}

function toIds({ userId, fileId, courseId }: PendingBeat) {
  return { userId, fileId, courseId };
}

/** The locks of a batch were held by another for too long: no row of it is at fault. */
class LocksBusy extends Error {}

function courseBusy(cause: LocksBusy): AppError {
  const message = "The course, or the progress of a learner in it, is being changed; send it again later.";
  return new AppError("unavailable", message, { retryAfterMs: LOCKED_RETRY_MS, cause });
}

const LOCK_STATEMENT = "SELECT set_config('lock_timeout', $3, true), lock_writers('batch', $1::text[], $2::text[])";

function shouldSplit(error: unknown): boolean {
  if (error instanceof RowRaced) return false;
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

/** The arrays of BATCH_STATEMENT. The age is computed last: it includes the time waited here. */
function toParameters(entries: PendingBeat[], now: number): string[] {
  const writers = entries.map(toWriterColumns);
  return [
    toTextArray(entries.map((entry) => entry.userId)),
    toTextArray(entries.map((entry) => entry.fileId)),
    toTextArray(entries.map((entry) => entry.courseId)),
    toPlainArray(entries.map((entry) => entry.position.positionMs)),
    toPlainArray(entries.map((entry) => Math.max(0, now - entry.position.observedAtMs))),
    toTextArray(entries.map((entry) => toMultirange(entry.played))),
    toTextArray(entries.map((entry) => entry.position.session)),
    toPlainArray(entries.map((entry) => entry.position.seq)),
    toPlainArray(entries.map((entry) => entry.epoch)),
    toTextArray(writers.map((columns) => columns.lastSession)),
    toPlainArray(writers.map((columns) => columns.lastSeq)),
    toTextArray(writers.map((columns) => columns.leadSession)),
    toTextArray(writers.map((columns) => columns.leadSeqs)),
    toTextArray(writers.map((columns) => columns.leadClaims)),
    toPlainArray(writers.map((columns) => columns.claim)),
    toPlainArray(entries.map((entry) => entry.reportedBp)),
    toPlainArray(entries.map((entry) => entry.reportedDone)),
    toPlainArray(entries.map((entry) => Math.max(0, entry.position.observedAtMs - entry.oldestAtMs))),
  ];
}

interface WriterColumns {
  lastSession: string | null;
  lastSeq: number | null;
  leadSession: string | null;
  leadSeqs: string | null;
  leadClaims: string | null;
  claim: number;
}

const NO_CLAIM: WriterColumns = {
  lastSession: null,
  lastSeq: null,
  leadSession: null,
  leadSeqs: null,
  leadClaims: null,
  claim: 0,
};

/** What the row's last writer becomes, and what is judged against the one before: nulls where a single beat says it all. */
function toWriterColumns({ position, claims, lastSession, lastSeq }: PendingBeat): WriterColumns {
  const isLast = lastSession === position.session && lastSeq === position.seq;
  const last = isLast ? NO_CLAIM : { ...NO_CLAIM, lastSession, lastSeq };
  if (claims === null) return last;
  const { session, seqs, lengthsMs, moreMs } = claims;
  const isAlone = seqs.length === 1 && moreMs === 0 && session === position.session && seqs[0] === position.seq;
  if (isAlone) return { ...last, claim: lengthsMs[0] ?? 0 };
  return {
    ...last,
    leadSession: session,
    leadSeqs: toPlainArray(seqs),
    leadClaims: toPlainArray(lengthsMs),
    claim: moreMs,
  };
}
