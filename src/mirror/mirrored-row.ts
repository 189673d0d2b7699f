import type { Timestamp } from "firebase-admin/firestore";

/*
 * Converts rows of user_progress to documents and back. A document holds all stored state of a row, but no column that
 * follows from the catalogue alone.
 *
 *   user_progress ──MIRRORED_COLUMNS──▶ MirroredRow ──toDocument──▶ Firestore ──toMirroredRow──▶ MirroredRow
 *
 * No value that somebody wrote by hand may stop the mirror. A value that Firestore's numbers, timestamps or lists
 * cannot hold exactly (2^60, infinity, an open range) is stored as PostgreSQL's text.
 */

export interface MirroredRow {
  userId: string;
  fileId: string;
  lessonId: string;
  courseId: string;
  durationMs: number | null;
  counted: boolean;
  positionMs: number;
  /** A multirange of milliseconds, as PostgreSQL writes it. */
  watched: string;
  watchedMs: number;
  watchTimeMs: number | string;
  reportedBp: number;
  completed: boolean;
  completionSource: string | null;
  epoch: number;
  positionSession: string | null;
  positionSeq: number | string | null;
  writerSession: string | null;
  writerSeq: number | string | null;
  version: number;
  baseVersion: number | null;
  /** Times as ISO 8601 in UTC, with microseconds. */
  resetAt: string | null;
  lastWatched: string | null;
  beatAt: string | null;
  createdAt: string;
  updatedAt: string;
}

/** Columns that hold a time. */
export const TIMES = ["resetAt", "lastWatched", "beatAt", "createdAt", "updatedAt"] as const;
const LARGE_NUMBERS = ["watchTimeMs", "positionSeq", "writerSeq"] as const;

/** Marks documents that Playhead wrote, and tells the form of their fields. */
const FORMAT = 1;

/** The fields of a document. */
export type MirroredDocument = Omit<MirroredRow, "watched" | (typeof TIMES)[number]> &
  Record<(typeof TIMES)[number], Timestamp | string | null> & {
    format: number;
    /** Start and end of each range in turn, in milliseconds: Firestore has no arrays in arrays. */
    watched: number[] | string;
  };

const time = (column: string) => `to_json(p.${column} AT TIME ZONE 'UTC') #>> '{}'`;

/** The columns to select from `user_progress AS p`. Pass each selected row to `toRow`. */
export const MIRRORED_COLUMNS = `p.user_id AS "userId", p.file_id AS "fileId", p.lesson_id AS "lessonId", p.course_id AS "courseId",
  p.duration_ms AS "durationMs", p.counted, p.position_ms AS "positionMs", p.watched::text, p.watched_ms AS "watchedMs",
  p.watch_time_ms::text AS "watchTimeMs", p.reported_bp AS "reportedBp", p.completed, p.completion_source AS "completionSource", p.epoch,
  p.position_session AS "positionSession", p.position_seq::text AS "positionSeq", p.writer_session AS "writerSession",
  p.writer_seq::text AS "writerSeq", p.version, p.base_version AS "baseVersion", ${time("reset_at")} AS "resetAt",
  ${time("last_watched")} AS "lastWatched", ${time("beat_at")} AS "beatAt", ${time("created_at")} AS "createdAt", ${time("updated_at")} AS "updatedAt"`;

/** Turns a selected row into a MirroredRow: large integers become numbers where a number can hold them. */
export function toRow(selected: MirroredRow): MirroredRow {
  const row = { ...selected };
  for (const name of LARGE_NUMBERS) {
    const value = Number(row[name]);
    if (row[name] !== null && Number.isSafeInteger(value)) row[name] = value;
  }
  return row;
}

/** The document of a row. */
export function toDocument(
  row: MirroredRow,
  makeTimestamp: (seconds: number, nanos: number) => Timestamp,
): MirroredDocument {
  const times = {} as Record<(typeof TIMES)[number], Timestamp | string | null>;
  for (const name of TIMES) times[name] = toTimestamp(row[name], makeTimestamp);
  return { ...row, ...times, format: FORMAT, watched: toNumbers(row.watched) };
}

/** The row of a document; null where Playhead did not write the document. */
export function toMirroredRow(document: Record<string, unknown>): MirroredRow | null {
  if (document.format !== FORMAT) return null;
  const { format: _, ...fields } = document as unknown as MirroredDocument;
  const times = {} as Record<(typeof TIMES)[number], string>;
  for (const name of TIMES) times[name] = fromTimestamp(fields[name]) as string;
  return { ...fields, ...times, watched: fromNumbers(fields.watched) };
}

/** Adds the zone to a time of the mirror, which is in UTC; `infinity` takes none. */
export function inUtc(text: string): string {
  return /^\d/.test(text) ? `${text}Z` : text;
}

function toTimestamp(
  text: string | null,
  makeTimestamp: (seconds: number, nanos: number) => Timestamp,
): Timestamp | string | null {
  const [, second, fraction = ""] = text?.match(/^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?$/) ?? [];
  if (second === undefined) return text;
  return makeTimestamp(Date.parse(`${second}Z`) / 1000, Number(fraction.padEnd(6, "0")) * 1000);
}

function fromTimestamp(value: Timestamp | string | null): string | null {
  if (value === null || typeof value === "string") return value;
  const second = new Date(value.seconds * 1000).toISOString().slice(0, 19);
  const micros = Math.floor(value.nanoseconds / 1000);
  return micros === 0 ? second : `${second}.${String(micros).padStart(6, "0").replace(/0+$/, "")}`;
}

function toNumbers(multirange: string): number[] | string {
  if (!/^\{(\[\d+,\d+\),?)*\}$/.test(multirange)) return multirange;
  return (multirange.match(/\d+/g) ?? []).map(Number);
}

function fromNumbers(numbers: number[] | string): string {
  if (typeof numbers === "string") return numbers;
  const ranges: string[] = [];
  for (let i = 0; i < numbers.length; i += 2) ranges.push(`[${numbers[i]},${numbers[i + 1]})`);
  return `{${ranges.join(",")}}`;
}
