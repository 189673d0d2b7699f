import { isRowLocked, isTransient, sqlStateOf } from "../db/sqlstate.ts";
import { toUnavailable, USER_DELETED } from "../db/unavailable.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { PendingBeat } from "./pending-beat.ts";
import type { WrittenBeat } from "./written-beat.ts";

/*
 * What is done with a batch that was not written whole, so that one row, or one course, does not hold the others back.
 *
 *   written ─▶ its results; entries that straddle a reset are written again, one beat at a time
 *   locked  ─▶ again, course by course, hardly waiting for the locks: the entries of a locked course are refused
 *   failed  ─▶ again, in eight parts, until the bad row is alone: its entry is refused
 */

/** What became of one entry of a batch. */
export type WriteResult =
  | WrittenBeat
  /** The file left the catalogue, or moved to another course, after the entry was accepted. */
  | { type: "unknown_file" }
  | { type: "failed"; error: AppError };

/** What became of one entry of a batch that was written. `straddles`: its beats were observed before and after a reset. */
export type EntryOutcome = WriteResult | { type: "straddles" };

/** What became of one try to write a batch. Only `written` changed anything. */
export type BatchOutcome =
  | { type: "written"; entries: EntryOutcome[] }
  /** Others hold the locks of the batch. */
  | { type: "locked" }
  /** PostgreSQL refuses the batch for something in it. */
  | { type: "failed"; error: unknown };

/** Waits so long for the locks of a batch. */
const LOCK_TIMEOUT_MS = 2000;
/** Waits so long for the locks of one course, after those of the whole batch were not to be had. */
const COURSE_LOCK_TIMEOUT_MS = 50;
const SPLIT_INTO = 8;
/** Tells the client of a locked row when to send its beat again. */
const LOCKED_RETRY_MS = 2000;

const FOREIGN_KEY_VIOLATION = "23503";

export interface SplitParts {
  /** @throws what may pass, as a lost connection: then nothing is split, and the caller tries the whole batch again */
  tryToWrite(entries: PendingBeat[], lockTimeoutMs: number): Promise<BatchOutcome>;
  metrics: Metrics;
  logger: Logger;
}

/** Writes a batch, in parts if need be. Resolves with one result for each entry. @throws as `tryToWrite` does */
export async function writeInParts(parts: SplitParts, entries: PendingBeat[]): Promise<WriteResult[]> {
  const outcome = await parts.tryToWrite(entries, LOCK_TIMEOUT_MS);
  switch (outcome.type) {
    case "written":
      return settleEntries(parts, entries, outcome.entries);
    case "locked":
      return writeByCourse(parts, entries);
    case "failed":
      if (entries.length === 1) return [toFailure(parts, outcome.error, entries[0] as PendingBeat)];
      parts.metrics.flushRetries.inc({ sqlstate: sqlStateOf(outcome.error) ?? "none" });
      return writeInEight(parts, entries);
  }
}

async function writeInEight(parts: SplitParts, entries: PendingBeat[]): Promise<WriteResult[]> {
  const size = Math.ceil(entries.length / SPLIT_INTO);
  const results: WriteResult[] = [];
  for (let i = 0; i < entries.length; i += size) {
    results.push(...(await writeInParts(parts, entries.slice(i, i + size))));
  }
  return results;
}

async function writeByCourse(parts: SplitParts, entries: PendingBeat[]): Promise<WriteResult[]> {
  const results = new Map<PendingBeat, WriteResult>();
  for (const courseId of new Set(entries.map((entry) => entry.courseId))) {
    const group = entries.filter((entry) => entry.courseId === courseId);
    const written = await writeCourse(parts, group);
    for (const [i, entry] of group.entries()) results.set(entry, written[i] as WriteResult);
  }
  return entries.map((entry) => results.get(entry) as WriteResult);
}

async function writeCourse(parts: SplitParts, entries: PendingBeat[]): Promise<WriteResult[]> {
  const outcome = await parts.tryToWrite(entries, COURSE_LOCK_TIMEOUT_MS);
  switch (outcome.type) {
    case "written":
      return settleEntries(parts, entries, outcome.entries);
    case "locked":
      return entries.map((): WriteResult => ({ type: "failed", error: courseLocked() }));
    case "failed":
      return writeInEight(parts, entries);
  }
}

/** The beats of an entry were merged before the process heard of the reset between them. */
async function settleEntries(
  parts: SplitParts,
  entries: PendingBeat[],
  outcomes: EntryOutcome[],
): Promise<WriteResult[]> {
  const results: WriteResult[] = [];
  for (const [i, outcome] of outcomes.entries()) {
    if (outcome.type !== "straddles") results.push(outcome);
    else results.push(await writeOneByOne(parts, (entries[i] as PendingBeat).parts));
  }
  return results;
}

/** The result of the last beat answers for all of them. */
async function writeOneByOne(parts: SplitParts, beats: PendingBeat[]): Promise<WriteResult> {
  const results: WriteResult[] = [];
  for (const beat of beats) results.push(...(await writeInParts(parts, [beat])));
  return results.at(-1) ?? { type: "unknown_file" };
}

function toFailure({ logger }: SplitParts, error: unknown, { userId, fileId }: PendingBeat): WriteResult {
  if (sqlStateOf(error) === FOREIGN_KEY_VIOLATION) return { type: "unknown_file" };
  if (sqlStateOf(error) === USER_DELETED) {
    const message = "The user was deleted; with a new token the user begins anew.";
    return { type: "failed", error: new AppError("unauthenticated", message, { cause: error }) };
  }
  if (isRowLocked(error)) {
    const message = "The progress of this file is locked in the database; send it again later.";
    return {
      type: "failed",
      error: new AppError("unavailable", message, { retryAfterMs: LOCKED_RETRY_MS, cause: error }),
    };
  }
  if (isTransient(error)) return { type: "failed", error: toUnavailable(error) as AppError };
  logger.error({ err: error, userId, fileId }, "a heartbeat could not be written");
  return { type: "failed", error: new AppError("internal", "This heartbeat could not be written.", { cause: error }) };
}

function courseLocked(): AppError {
  const message = "The course, or the progress of a learner in it, is being changed; send it again later.";
  return new AppError("unavailable", message, { retryAfterMs: LOCKED_RETRY_MS });
}
