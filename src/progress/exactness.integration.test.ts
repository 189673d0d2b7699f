import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { recount } from "../../test/helpers/recount.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createPool, type Pool } from "../db/pool.ts";
import { isTransient } from "../db/sqlstate.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { CourseTree } from "../protocol/course.ts";
import { mergeInto, type PendingBeat, toPendingBeat } from "./pending-beat.ts";
import { createProgressOperations } from "./progress-operations.ts";
import type { ProgressOperations } from "./progress-service.ts";
import { byRow, isWorthRetrying, ProgressWriter } from "./progress-writer.ts";

/*
 * Aggregates are exact after every commit, whoever wrote, and what a user's progress comes to does not hang on the
 * order in which heartbeats arrive.
 */

const CONNECTIONS = 4;
const logger = createLogger({ level: "silent" });
const FILES = ["f1", "f2", "f3", "f4", "f5"];
const USERS = ["u1", "u2", "u3"];

/** Durations are milliseconds; null is unknown, undefined is retired. */
interface Shape {
  durations: (number | null | undefined)[];
  optional: number;
  /** The first file moves between the lessons. */
  moved: boolean;
  threshold: number;
}

const FULL: Shape = { durations: [60_000, 30_000, 45_000, null, 20_000], optional: 4, moved: false, threshold: 0.9 };

function toTree(shape: Shape): CourseTree {
  const files = FILES.flatMap((id, i) => {
    const duration = shape.durations[i];
    if (duration === undefined) return [];
    const inFirst = i === 0 ? !shape.moved : i < 3;
    const file = {
      id,
      title: id,
      required: shape.optional !== i,
      ...(duration === null ? {} : { durationSeconds: duration / 1000 }),
    };
    return [{ inFirst, file }];
  });
  return {
    title: "Course",
    completionThreshold: shape.threshold,
    lessons: [true, false].map((first) => ({
      id: first ? "l1" : "l2",
      title: "Lesson",
      files: files.filter(({ inFirst }) => inFirst === first).map(({ file }) => file),
    })),
  };
}

const range = fc
  .tuple(fc.nat(60), fc.integer({ min: 1, max: 30 }))
  .map(([from, length]) => [from * 1000, (from + length) * 1000] as const);

const beatOf = fc.record({
  type: fc.constant("beat" as const),
  user: fc.constantFrom(...USERS),
  file: fc.constantFrom(...FILES),
  device: fc.constantFrom("a", "b", "c"),
  seq: fc.option(fc.nat(20), { nil: undefined }),
  agoSeconds: fc.integer({ min: 1, max: 100 }),
  position: fc.nat(60_000),
  played: fc.array(range, { maxLength: 3 }),
  epoch: fc.option(fc.nat(2), { nil: undefined }),
});
type Beat = typeof beatOf extends fc.Arbitrary<infer T> ? T : never;

const operation = fc.oneof(
  { weight: 12, arbitrary: beatOf },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constantFrom("reset" as const, "complete" as const, "uncomplete" as const),
      user: fc.constantFrom(...USERS),
      file: fc.option(fc.constantFrom(...FILES), { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("catalogue" as const),
      shape: fc.record({
        durations: fc.tuple(
          ...FILES.map(() =>
            fc.oneof(
              fc.integer({ min: 10, max: 90 }).map((seconds) => seconds * 1000),
              fc.constant(null),
              fc.constant(undefined),
            ),
          ),
        ),
        optional: fc.nat(6),
        moved: fc.boolean(),
        threshold: fc.constantFrom(0.5, 0.9, 1),
      }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("sql" as const),
      user: fc.constantFrom(...USERS),
      file: fc.constantFrom(...FILES),
      statement: fc.constantFrom(
        "UPDATE user_progress SET completed = true WHERE user_id = $1 AND file_id = $2",
        "UPDATE user_progress SET completed = false WHERE user_id = $1 AND file_id = $2",
        "UPDATE user_progress SET watched = watched + '{[1000,9000),[50000,52000)}' WHERE user_id = $1 AND file_id = $2",
        "UPDATE user_progress SET watched = '{}', reported_bp = 4200 WHERE user_id = $1 AND file_id = $2",
        "DELETE FROM user_progress WHERE user_id = $1 AND file_id = $2",
        "DELETE FROM user_progress WHERE user_id = $1 OR file_id = $2",
        `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, watched)
         SELECT $1, $2, lesson_id, course_id, '{[0,7000)}' FROM files WHERE id = $2 ON CONFLICT DO NOTHING`,
        "UPDATE files SET duration_ms = 33000 WHERE id = $2 AND $1 <> ''",
        "UPDATE files SET required = NOT required WHERE id = $2 AND $1 <> ''",
      ),
    }),
  },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

describe("exactness", () => {
  let database: TestDatabase;
  let pools: Pool[];
  let writers: ProgressWriter[];
  let operations: ProgressOperations;

  beforeAll(async () => {
    database = await createTestDatabase();
    const metrics = createMetrics();
    pools = Array.from({ length: CONNECTIONS }, () =>
      createPool({
        connectionString: database.url,
        max: 1,
        queryTimeoutMs: 20_000,
        applicationName: "writer",
        logger,
        options: { pipeline: true },
      }),
    );
    writers = pools.map(
      (pool) => new ProgressWriter({ pool, catalogue: new CatalogueCache({ pool }), metrics, logger }),
    );
    operations = createProgressOperations({ pool: database.pool });
  });
  afterAll(async () => {
    await Promise.all(pools.map((pool) => pool.end()));
    await database.drop();
  });

  async function startOver(): Promise<void> {
    await database.query("DELETE FROM courses");
    await database.query("DELETE FROM users");
    await createCatalogueStore({ pool: database.pool }).put("c", toTree(FULL));
    await database.query("INSERT INTO users (id) SELECT unnest($1::text[])", [USERS]);
  }

  async function untilDone<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!isWorthRetrying(error) && !isTransient(error)) throw error;
      }
    }
  }

  function toPending(beat: Beat, startedAt: number): PendingBeat {
    return toPendingBeat({
      userId: beat.user,
      fileId: beat.file,
      courseId: "c",
      epoch: beat.epoch,
      positionMs: beat.position,
      observedAtMs: startedAt - beat.agoSeconds * 10_000,
      session: beat.device,
      seq: beat.seq,
      played: beat.played,
    });
  }

  async function run(step: Operation, writer: ProgressWriter, startedAt: number): Promise<void> {
    switch (step.type) {
      case "beat":
        expect(await untilDone(() => writer.write([toPending(step, startedAt)]))).toMatchObject([{ type: "written" }]);
        return;
      case "catalogue":
        await untilDone(() => createCatalogueStore({ pool: database.pool }).put("c", toTree(step.shape as Shape)));
        return;
      case "sql":
        await untilDone(() => database.query(step.statement, [step.user, step.file]));
        return;
      default: {
        const target = step.file === undefined ? { courseId: "c" } : { fileId: step.file };
        if (step.type === "reset") await operations.reset(step.user, target, "tester");
        else if (step.type === "complete")
          await operations.complete(step.user, target, { source: "manual", by: "tester" });
        else await operations.uncomplete(step.user, target, "tester");
      }
    }
  }

  async function expectExact(): Promise<void> {
    const { recounted, stored } = await recount(database);
    expect(stored).toEqual(recounted);
    expect(await database.query("SELECT * FROM courses AS c, playhead_check_course(c.id)")).toEqual([]);
  }

  it("keeps the sums equal to a recount, whatever several connections write at the same time", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 60 }), async (steps) => {
        await startOver();
        const startedAt = performance.now();
        const queue = [...steps];
        await Promise.all(
          writers.map(async (writer) => {
            for (let step = queue.shift(); step !== undefined; step = queue.shift()) await run(step, writer, startedAt);
          }),
        );
        await expectExact();
      }),
      { numRuns: 60 },
    );
  });

  it("refuses TRUNCATE, because no trigger could subtract its rows", async () => {
    for (const table of ["user_progress", "lesson_progress", "course_progress"]) {
      await expect(database.query(`TRUNCATE ${table}`)).rejects.toThrow(/would leave the aggregates wrong/);
    }
  });

  it("drops a beat without an epoch that was observed before a reset, even if it was merged with one observed after it", async () => {
    await startOver();
    await operations.reset("u1", { fileId: "f1" }, "u1");
    await database.query("UPDATE user_progress SET reset_at = reset_at - interval '500 seconds'");
    const beat = { type: "beat" as const, user: "u1", file: "f1", device: "a" as const, position: 0, epoch: undefined };
    const startedAt = performance.now();
    const merged = toPending({ ...beat, seq: 2, agoSeconds: 1, played: [[5000, 6000]] }, startedAt);
    mergeInto(merged, toPending({ ...beat, seq: 3, agoSeconds: 60, played: [[0, 1000]] }, startedAt));
    const results = await (writers[0] as ProgressWriter).write([merged]);
    expect(results).toMatchObject([{ type: "written", progress: { watched: [[5, 6]] } }]);
    await expectExact();
  });

  it("deletes a course whose learner was un-completed by hand", async () => {
    await startOver();
    const full = [[0, 60_000]] as const;
    const beat = {
      type: "beat" as const,
      user: "u1",
      device: "a" as const,
      seq: 1,
      agoSeconds: 1,
      position: 0,
      epoch: undefined,
    };
    for (const file of ["f1", "f5"]) {
      await (writers[0] as ProgressWriter).write([toPending({ ...beat, file, played: [...full] }, performance.now())]);
      await operations.uncomplete("u1", { fileId: file }, "tester");
    }
    await database.query("DELETE FROM lessons WHERE id = 'l1'");
    await expectExact();
    await database.query("DELETE FROM courses WHERE id = 'c'");
    expect(await database.query("SELECT FROM course_progress")).toEqual([]);
  });

  it("ends at the same position, watched ranges and epoch in every order of arrival", async () => {
    const beats = fc.uniqueArray(beatOf, { minLength: 3, maxLength: 12, selector: (beat) => beat.agoSeconds });
    // Several devices number their beats as time goes. Those of one device may look older than they are.
    const ofSeveral = beats.map((given) =>
      given
        .sort((a, b) => b.agoSeconds - a.agoSeconds)
        .map((beat, i) => ({ ...beat, seq: beat.seq === undefined ? undefined : i })),
    );
    const ofOne = beats.map((given) => given.map((beat, i) => ({ ...beat, device: "a" as const, seq: i })));
    const arrivals = fc.oneof(ofSeveral, ofOne).chain((distinct) =>
      fc.record({
        first: fc.constant(distinct),
        again: fc.tuple(
          fc.shuffledSubarray(distinct, { minLength: distinct.length, maxLength: distinct.length }),
          fc.array(fc.constantFrom(...distinct), { maxLength: 6 }),
          fc.integer({ min: 1, max: 4 }),
        ),
      }),
    );

    async function outcome(given: Beat[], batchSize: number) {
      await startOver();
      // One row begins anew: whatever was observed before, or belongs to the epoch before, is dropped.
      await operations.reset("u1", { fileId: "f1" }, "u1");
      await database.query("UPDATE user_progress SET reset_at = reset_at - interval '500 seconds'");
      const startedAt = performance.now();
      for (let i = 0; i < given.length; i += batchSize) await writeBatch(given.slice(i, i + batchSize), startedAt);
      return database.query(
        `SELECT user_id, file_id, position_ms, watched::text, watched_ms, epoch, completed FROM user_progress ORDER BY 1, 2`,
      );
    }

    async function writeBatch(given: Beat[], startedAt: number): Promise<void> {
      const entries = new Map<string, PendingBeat>();
      for (const beat of given) {
        const pending = toPending(beat, startedAt);
        const key = `${beat.user} ${beat.file}`;
        const known = entries.get(key);
        if (known === undefined) entries.set(key, pending);
        else if (known.epoch === pending.epoch && (known.claims === null) === (pending.claims === null))
          mergeInto(known, pending);
        else await untilDone(() => (writers[0] as ProgressWriter).write([pending]));
      }
      await untilDone(() => (writers[0] as ProgressWriter).write([...entries.values()].sort(byRow)));
    }

    await fc.assert(
      fc.asyncProperty(arrivals, async ({ first, again: [shuffled, repeats, batchSize] }) => {
        const once = await outcome(first, 1);
        expect(await outcome([...shuffled, ...repeats], batchSize)).toEqual(once);
      }),
      { numRuns: 60 },
    );
  });
});
