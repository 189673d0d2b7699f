import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { type OracleRow, toOracleQuery } from "../../test/helpers/merge-oracle.ts";
import type { FileFacts } from "../catalogue/catalogue.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import type { PoolClient } from "../db/pool.ts";
import { type FoundRow, lookUpRows } from "./batch-look-up.ts";
import { mergeBeat } from "./merge-beat.ts";
import { toMultirange } from "./multirange.ts";
import { mergeInto, type Observation, type PendingBeat, toPendingBeat } from "./pending-beat.ts";

/*
 * Compares the rules of merge-beat.ts, and of the marks by which rows begin, with the same rules in SQL
 * (test/helpers/merge-oracle.ts).
 */

const NOW_AT = "2026-03-01T12:00:00Z";
const NOW_US = Date.parse(NOW_AT) * 1000;
/** By the monotonic clock. */
const NOW_MS = 1_000_000;
const ROWS = 40;
const FILES = ["long", "short", "between", "unknown", "optional"];

let database: TestDatabase;
let client: PoolClient;
let files: Map<string, FileFacts>;

beforeAll(async () => {
  database = await createTestDatabase();
  await createCatalogueStore({ pool: database.pool }).put("c", {
    title: "Course",
    lessons: [
      {
        id: "l",
        title: "Lesson",
        files: [
          { id: "long", title: "Long", durationSeconds: 60 },
          { id: "short", title: "Short", durationSeconds: 10, creditsAtSeconds: 8 },
          { id: "between", title: "Between", durationSeconds: 10, startSeconds: 1, creditsAtSeconds: 9 },
          { id: "unknown", title: "Unknown" },
          { id: "optional", title: "Optional", durationSeconds: 30, required: false },
        ],
      },
    ],
  });
  client = await database.pool.connect();
  files = await new CatalogueCache({ pool: database.pool }).loadFiles(client, FILES);
});
afterAll(async () => {
  client.release();
  await database.drop();
});

const sessions = fc.constantFrom("a", "b", "\uffff", "😀");
const seqs = fc.option(fc.nat(5), { nil: undefined });
/** Steps in which gaps are just closed, just not, and ranges touch. */
const edge = fc.nat(60).map((step) => step * 125);
const ranges = fc.array(
  fc
    // 7,200 is exactly where the short file completes.
    .tuple(edge, fc.constantFrom(1, 124, 125, 126, 250, 1000, 7200, 9000))
    .map(([from, length]) => [from, from + length] as const),
  { maxLength: 5 },
);
/** Milliseconds ago. */
const ages = fc.constantFrom(0, 1000, 2000, 3000, 400_000);

const observations = fc.record({
  agoMs: ages,
  positionMs: fc.nat(70_000),
  session: sessions,
  seq: seqs,
  played: ranges,
  reportedBp: fc.constantFrom(0, 0, 5000, 10_000),
  reportedDone: fc.constantFrom(false, false, true),
});

const storedRows = fc.record({
  positionMs: fc.nat(60_000),
  watched: fc.oneof(
    { weight: 4, arbitrary: ranges.map((given) => toMultirange(given)) },
    // As many fragments as are allowed, or more.
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(126, 127, 128, 129, 140)
        .map((n) => toMultirange(Array.from({ length: n }, (_, i) => [i * 400, i * 400 + 100]))),
    },
  ),
  watchTimeMs: fc.nat(100_000),
  reportedBp: fc.constantFrom(0, 5000),
  completed: fc.constantFrom(null, null, "auto", "manual", "reported"),
  epoch: fc.nat(2),
  resetAgoMs: fc.option(ages),
  seenAgoMs: fc.option(ages),
  positionSession: sessions,
  positionSeq: fc.integer({ min: -1, max: 5 }),
  writer: fc.option(fc.tuple(sessions, fc.integer({ min: -1, max: 5 }))),
  staleDuration: fc.constantFrom(false, false, false, true),
});

const cases = fc.record({
  file: fc.constantFrom(...FILES),
  epoch: fc.option(fc.nat(2), { nil: undefined }),
  beats: fc.array(observations, { minLength: 1, maxLength: 3 }),
  row: fc.option(storedRows, { freq: 2 }),
  marks: fc.uniqueArray(
    fc.record({ isOfFile: fc.boolean(), epoch: fc.integer({ min: 1, max: 2 }), resetAgoMs: ages }),
    {
      selector: ({ isOfFile }) => isOfFile,
    },
  ),
});
type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

function toBeat({ file, epoch, beats }: Case, user: number): PendingBeat {
  const observe = ({ agoMs, seq, ...rest }: Case["beats"][number]): Observation => ({
    ...rest,
    // Numbered and unnumbered beats are never merged.
    seq: beats[0]?.seq === undefined ? undefined : (seq ?? 0),
    epoch,
    userId: `u${user}`,
    fileId: file,
    courseId: "c",
    observedAtMs: NOW_MS - agoMs,
  });
  const [first, ...more] = beats.map((beat) => toPendingBeat(observe(beat)));
  for (const beat of more) mergeInto(first as PendingBeat, beat);
  return first as PendingBeat;
}

async function insertRows(given: Case[]): Promise<void> {
  const ago = (ms: number | null) => (ms === null ? null : new Date(NOW_US / 1000 - ms));
  for (const [user, { file, row, marks }] of given.entries()) {
    await client.query("INSERT INTO users (id) VALUES ($1)", [`u${user}`]);
    for (const { isOfFile, epoch, resetAgoMs } of marks) {
      await client.query(
        "INSERT INTO reset_marks (user_id, course_id, file_id, epoch, reset_at) VALUES ($1, 'c', $2, $3, $4)",
        [`u${user}`, isOfFile ? file : "", epoch, ago(resetAgoMs)],
      );
    }
    if (row === null) continue;
    const facts = files.get(file) as FileFacts;
    await client.query(
      `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms, watch_time_ms, reported_bp,
        completed, completion_source, epoch, reset_at, last_watched, position_session, position_seq, writer_session, writer_seq,
        duration_ms, counted, assumed_ms)
       VALUES ($1, $2, 'l', 'c', $3, $4, multirange_ms($4), $5, $6, $7::text IS NOT NULL, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
      [
        `u${user}`,
        file,
        row.positionMs,
        row.watched,
        row.watchTimeMs,
        row.reportedBp,
        row.completed,
        row.epoch,
        ago(row.resetAgoMs),
        ago(row.seenAgoMs),
        row.positionSession,
        row.positionSeq,
        row.writer?.[0] ?? null,
        row.writer?.[1] ?? null,
        row.staleDuration ? 7000 : facts.durationMs,
        facts.counted,
        facts.assumedMs,
      ],
    );
  }
}

it("merges any heartbeat into any row as the same rules written in SQL do", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(cases, { minLength: ROWS, maxLength: ROWS }), async (given) => {
      await client.query("BEGIN");
      await client.query("SELECT set_config('playhead.writer', 'batch', true)");
      await insertRows(given);
      const beats = given.map(toBeat);
      const { rows: expected } = await client.query<OracleRow>(toOracleQuery(beats, { nowMs: NOW_MS, nowAt: NOW_AT }));
      const rows = await lookUpRows(client, beats);
      await client.query("ROLLBACK");
      for (const [i, beat] of beats.entries()) {
        const toUs = (ms: number) => NOW_US + (ms - NOW_MS) * 1000;
        const observed = {
          atUs: toUs(beat.position.observedAtMs),
          oldestUs: toUs(beat.oldestAtMs),
          nowUs: NOW_US,
        };
        const { row, mark } = rows[i] as FoundRow;
        const merged = mergeBeat(row, files.get(beat.fileId) as FileFacts, beat, observed, mark);
        const { ord: _, fresh, dropped, straddles, changed, ...next } = expected[i] as OracleRow;
        const outcome = straddles ? "straddles" : changed ? "changed" : "kept";
        expect(merged.type).toBe(outcome);
        if (merged.type === "kept") expect(merged.dropped).toBe(dropped);
        if (merged.type !== "changed") continue;
        expect(merged.change.old === null).toBe(fresh);
        const { version: _version, lessonId, beatAtUs, durationMs, assumedMs, counted, ...got } = merged.change.next;
        expect({ ...got, watched: toMultirange(got.watched) }).toEqual(next);
      }
    }),
    { numRuns: 40 },
  );
}, 120_000);
