import { toTextArray } from "../db/array-literal.ts";
import type { PoolClient } from "../db/pool.ts";
import type { ResetMark, StoredRow } from "./merge-beat.ts";
import { parseMultirange } from "./multirange.ts";

/*
 * Reads the rows that a batch is decided by, and the database's clock.
 */

/** Every value as text: a number that only a statement by hand can have made, and that does not fit, must not fail the batch. */
const AS_TEXT = { getTypeParser: () => (text: string) => text } as never;

type Texts = (string | null)[];

async function ask(client: PoolClient, query: { name: string; text: string; values: string[] }): Promise<Texts[]> {
  const { rows } = await client.query<Texts>({ ...query, rowMode: "array", types: AS_TEXT });
  return rows;
}

/** What is stored of a key: its row; or, where there is none, the mark by which one begins; or neither. */
export interface FoundRow {
  row: StoredRow | null;
  mark: ResetMark | null;
}

export const NOTHING_FOUND: FoundRow = { row: null, mark: null };

/** In the order of the keys. */
export async function lookUpRows(
  client: PoolClient,
  keys: readonly { userId: string; fileId: string }[],
): Promise<FoundRow[]> {
  const found = keys.map(() => NOTHING_FOUND);
  const values = [toTextArray(keys.map((key) => key.userId)), toTextArray(keys.map((key) => key.fileId))];
  for (const row of await ask(client, { name: "look-up-rows", text: "SELECT * FROM look_up_rows($1, $2)", values })) {
    found[Number(row[0]) - 1] =
      row[2] === null ? { row: null, mark: toMark(row) } : { row: toStoredRow(row), mark: null };
  }
  return found;
}

/** By the database's clock, in seconds since 1970. */
export async function askTime(client: PoolClient): Promise<number> {
  const [row] = await ask(client, {
    name: "ask-time",
    text: "SELECT date_part('epoch', clock_timestamp())",
    values: [],
  });
  return Number(row?.[0]);
}

function toMark(row: Texts): ResetMark {
  return { version: Number(row[1]), epoch: Number(row[10]), resetAtUs: toMicros(row[11]) };
}

function toStoredRow(row: Texts): StoredRow {
  return {
    version: Number(row[1]),
    lessonId: row[2] as string,
    positionMs: Number(row[3]),
    watched: parseMultirange(row[4] as string),
    watchedMs: Number(row[5]),
    watchTimeMs: Number(row[6]),
    reportedBp: Number(row[7]),
    completed: row[8] === "t",
    completionSource: row[9] ?? null,
    epoch: Number(row[10]),
    resetAtUs: toMicros(row[11]),
    lastWatchedUs: toMicros(row[12]),
    positionSession: row[13] ?? null,
    positionSeq: toNumber(row[14]),
    writerSession: row[15] ?? null,
    writerSeq: toNumber(row[16]),
    beatAtUs: toMicros(row[17]),
    durationMs: toNumber(row[18]),
    counted: row[19] === "t",
    assumedMs: toNumber(row[20]),
  };
}

function toNumber(text: string | null | undefined): number | null {
  return text === null || text === undefined ? null : Number(text);
}

/** Of seconds, as PostgreSQL's float8 has them, exact to the microsecond. */
function toMicros(text: string | null | undefined): number | null {
  const seconds = toNumber(text);
  return seconds === null ? null : Math.round(seconds * 1_000_000);
}
