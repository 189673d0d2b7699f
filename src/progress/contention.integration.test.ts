import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createRandom, type Random } from "../../test/helpers/random.ts";
import { recount } from "../../test/helpers/recount.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createPool, type Pool } from "../db/pool.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { CourseTree } from "../protocol/course.ts";
import { type PendingBeat, toPendingBeat } from "./pending-beat.ts";
import { byRow, isWorthRetrying, ProgressWriter } from "./progress-writer.ts";

/*
 * Writers side by side: batches of old and new users in one another's way, a catalogue that changes and rows that are
 * deleted under load.
 */

const WRITERS = 4;
const BATCHES = 40;
const BATCH_SIZE = 120;
const USERS = 300;
const logger = createLogger({ level: "silent" });

function toTree(courseId: string, durationSeconds: number): CourseTree {
  return {
    title: courseId,
    lessons: [1, 2].map((lesson) => ({
      id: `${courseId}-l${lesson}`,
      title: "Lesson",
      files: [1, 2, 3].map((file) => ({ id: `${courseId}-l${lesson}-f${file}`, title: "File", durationSeconds })),
    })),
  };
}

describe("ProgressWriters that write at the same time", () => {
  let database: TestDatabase;
  let pools: Pool[];
  let writers: ProgressWriter[];
  const retried: unknown[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    const metrics = createMetrics();
    pools = Array.from({ length: WRITERS }, () =>
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
    const catalogue = createCatalogueStore({ pool: database.pool });
    for (const course of ["a", "b", "gone"]) await catalogue.put(course, toTree(course, 100));
  });
  afterAll(async () => {
    await Promise.all(pools.map((pool) => pool.end()));
    await database.drop();
  });

  function batch(random: Random, round: number, courses: string[]): PendingBeat[] {
    const entries = new Map<string, PendingBeat>();
    for (let i = 0; i < BATCH_SIZE; i++) {
      // Every round knows more users than the one before: old and new ones share its batches.
      const userId = `user-${random.below(Math.ceil((USERS * (round + 1)) / BATCHES))}`;
      const courseId = courses[random.below(courses.length)] as string;
      const fileId = `${courseId}-l${1 + random.below(2)}-f${1 + random.below(3)}`;
      const from = random.below(90_000);
      entries.set(
        `${userId} ${fileId}`,
        toPendingBeat({
          userId,
          fileId,
          courseId,
          positionMs: from,
          observedAtMs: performance.now(),
          session: `s${random.below(3)}`,
          seq: round,
          played: [[from, from + 10_000]],
        }),
      );
    }
    return [...entries.values()].sort(byRow);
  }

  /** Runs every writer over its batches; what is transient is tried again, as the buffer does. */
  async function underLoad(courses: string[], meanwhile: () => Promise<void>): Promise<string[]> {
    const outcomes: string[] = [];
    const load = writers.map(async (writer, index) => {
      const random = createRandom(index + 1);
      for (let round = 0; round < BATCHES; round++) {
        const entries = batch(random, round, courses);
        for (let left = entries; left.length > 0; ) {
          try {
            const results = await writer.write(left);
            const isBusy = (i: number) => results[i]?.type === "failed" && results[i].error.code === "unavailable";
            outcomes.push(...results.filter((_, i) => !isBusy(i)).map((result) => result.type));
            left = left.filter((_, i) => isBusy(i));
          } catch (error) {
            if (!isWorthRetrying(error)) throw error;
            retried.push(error);
          }
        }
      }
    });
    await Promise.all([...load, meanwhile()]);
    return outcomes;
  }

  async function expectExact(): Promise<void> {
    const { recounted, stored } = await recount(database);
    expect(stored).toEqual(recounted);
    expect(await database.query("SELECT p.* FROM courses AS c, playhead_check_course(c.id) AS p")).toEqual([]);
  }

  async function deadlocks(): Promise<number> {
    // A backend reports its counters when it is idle for a moment.
    const [row] = await database.query<{ deadlocks: number }>(
      "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    );
    return row?.deadlocks ?? 0;
  }

  it("cause no deadlock when batches of old and new users overlap", async () => {
    const outcomes = await underLoad(["a", "b"], async () => undefined);
    expect(new Set(outcomes)).toEqual(new Set(["written"]));
    await expectExact();
    expect(retried).toEqual([]);
    await database.query("SELECT pg_stat_force_next_flush()");
    expect(await deadlocks()).toBe(0);
  });

  it("write the other courses while a slow change locks one course", async () => {
    const entries = batch(createRandom(7), 0, ["a", "b"]);
    const change = await database.pool.connect();
    await change.query("BEGIN");
    await change.query("SELECT lock_catalogue('a')");
    const results = await (writers[0] as ProgressWriter).write(entries);
    await change.query("ROLLBACK");
    change.release();
    const outcomes = entries.map((entry, i) => {
      const result = results[i];
      return [entry.courseId, result?.type === "failed" ? result.error.code : result?.type];
    });
    expect(new Set(outcomes.map(String))).toEqual(new Set(["a,unavailable", "b,written"]));
  });

  it("keep the sums exact while the catalogue changes and batches wait", async () => {
    const catalogue = createCatalogueStore({ pool: database.pool });
    await underLoad(["a", "b"], async () => {
      for (const duration of [50, 200, 120, 80]) {
        await catalogue.put("a", toTree("a", duration));
        // A file and a lesson go and come back, a file moves.
        const tree = toTree("b", duration);
        const [first, second] = tree.lessons;
        if (first !== undefined && second !== undefined) second.files.push(...first.files.splice(0, 1));
        await catalogue.put("b", { ...tree, lessons: duration === 200 ? tree.lessons.slice(1) : tree.lessons });
      }
    });
    await expectExact();
  });

  it("keep the sums exact while a user, a file, a lesson and a course are deleted", async () => {
    const outcomes = await underLoad(["a", "b", "gone"], async () => {
      const written = async () =>
        (await database.query("SELECT FROM user_progress WHERE course_id = 'gone' LIMIT 1")).length > 0;
      await waitFor(written, { what: "progress in the course that will be deleted" });
      await database.query("DELETE FROM users WHERE id = 'user-1'");
      await database.query("DELETE FROM files WHERE id = 'a-l1-f1'");
      await database.query("DELETE FROM lessons WHERE id = 'b-l2'");
      await database.query("DELETE FROM courses WHERE id = 'gone'");
      await createCatalogueStore({ pool: database.pool }).delete("a");
    });
    expect(new Set(outcomes)).toEqual(new Set(["written", "unknown_file"]));
    await expectExact();
    expect(await database.query("SELECT FROM course_progress WHERE course_id IN ('gone', 'a')")).toEqual([]);
    expect(await database.query("SELECT FROM user_progress WHERE file_id = 'a-l1-f1' OR lesson_id = 'b-l2'")).toEqual(
      [],
    );
  });
});
