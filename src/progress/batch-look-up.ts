import { toTextArray } from "../db/array-literal.ts";
import type { PoolClient } from "../db/pool.ts";
import type { CatalogueFile, StoredRow } from "./merge-beat.ts";
import { parseMultirange } from "./watched-union.ts";

/*
 * What a batch has to know of rows and files before it is decided (migration 0008).
 */

/** Every value as PostgreSQL's text: numbers that do not fit, which only somebody's hand can have put there, fail no batch. */
const AS_TEXT = { getTypeParser: () => (text: string) => text } as never;

type Texts = (string | null)[];

async function ask(client: PoolClient, query: { name: string; text: string; values: string[] }): Promise<Texts[]> {
  const { rows } = await client.query<Texts>({ ...query, rowMode: "array", types: AS_TEXT });
  return rows;
}

/** The rows at the places of their keys; null where there is none. */
export async function lookUpRows(
  client: PoolClient,
  keys: readonly { userId: string; fileId: string }[],
): Promise<(StoredRow | null)[]> {
  const found = keys.map((): StoredRow | null => null);
  const values = [toTextArray(keys.map((key) => key.userId)), toTextArray(keys.map((key) => key.fileId))];
  for (const row of await ask(client, { name: "look-up-rows", text: "SELECT * FROM look_up_rows($1, $2)", values })) {
    found[Number(row[0]) - 1] = toStoredRow(row);
  }
  return found;
}

export async function lookUpFiles(client: PoolClient, ids: readonly string[]): Promise<CatalogueFile[]> {
  const rows = await ask(client, {
    name: "look-up-files",
    text: "SELECT * FROM look_up_files($1)",
    values: [toTextArray(ids)],
  });
  return rows.map(([id, lesson, course, duration, counted, completeAt, end, version]) => ({
    fileId: id as string,
    lessonId: lesson as string,
    courseId: course as string,
    durationMs: toNumber(duration),
    counted: counted === "t",
    completeAtMs: toNumber(completeAt),
    endMs: toNumber(end),
    catalogueVersion: Number(version),
  }));
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

function toStoredRow(row: Texts): StoredRow {
  return {
    id: Number(row[1]),
    version: Number(row[2]),
    lessonId: row[3] as string,
    positionMs: Number(row[4]),
    watched: parseMultirange(row[5] as string),
    watchedMs: Number(row[6]),
    watchTimeMs: Number(row[7]),
    reportedBp: Number(row[8]),
    completed: row[9] === "t",
    completionSource: row[10] ?? null,
    epoch: Number(row[11]),
    resetAtUs: toMicros(row[12]),
    lastWatchedUs: toMicros(row[13]),
    positionSession: row[14] ?? null,
    positionSeq: toNumber(row[15]),
    writerSession: row[16] ?? null,
    writerSeq: toNumber(row[17]),
    beatAtUs: toMicros(row[18]),
    durationMs: toNumber(row[19]),
    counted: row[20] === "t",
    contributionMs: Number(row[21]),
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
