import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createPool } from "../db/pool.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { type Observation, toPendingBeat } from "./pending-beat.ts";
import { createProgressOperations } from "./progress-operations.ts";
import { ProgressWriter } from "./progress-writer.ts";

const silent = createLogger({ level: "silent" });

describe("ProgressWriter", () => {
  let database: TestDatabase;
  let writer: ProgressWriter;
  let user = 0;

  beforeAll(async () => {
    database = await createTestDatabase();
    const catalogue = createCatalogueStore({ pool: database.pool });
    await catalogue.put("course", {
      title: "Course",
      lessons: [
        {
          id: "lesson",
          title: "Lesson",
          files: [
            { id: "file", title: "File", durationSeconds: 100 },
            { id: "other", title: "Other", durationSeconds: 100 },
          ],
        },
        {
          id: "extra",
          title: "Extra",
          files: [
            { id: "unknown-length", title: "Unknown" },
            { id: "optional", title: "Optional", durationSeconds: 50, required: false },
          ],
        },
      ],
    });
    writer = new ProgressWriter({
      pool: database.pool,
      catalogue: new CatalogueCache({ pool: database.pool }),
      metrics: createMetrics(),
      logger: createLogger({ level: process.env.TEST_LOG ?? "silent" }),
    });
  });
  afterAll(() => database.drop());

  function beat(given: Partial<Observation> & { agoMs?: number }) {
    const { agoMs = 0, ...rest } = given;
    return toPendingBeat({
      userId: `user-${user}`,
      fileId: "file",
      courseId: "course",
      positionMs: 0,
      observedAtMs: performance.now() - agoMs,
      session: "session",
      seq: 0,
      played: [],
      ...rest,
    });
  }

  async function write(given: Partial<Observation> & { agoMs?: number }): Promise<FileProgress> {
    const [result] = await writer.write([beat(given)]);
    if (result?.type !== "written") throw new Error(`not written: ${JSON.stringify(result)}`);
    return result.progress;
  }

  async function newUser() {
    user += 1;
  }

  async function problems() {
    return database.query("SELECT * FROM playhead_check_course('course')");
  }

  it("stores position, ranges and watch time of a first beat, and adds them to the sums", async () => {
    await newUser();
    const progress = await write({ positionMs: 30_000, played: [[0, 30_000]], seq: 1 });
    expect(progress).toMatchObject({
      position: 30,
      resumeAt: 28,
      duration: 100,
      watched: [[0, 30]],
      watchedSeconds: 30,
      watchTimeSeconds: 30,
      percentage: 30,
      completed: false,
      epoch: 0,
      lessonId: "lesson",
      courseId: "course",
    });
    expect(progress.version).toBeGreaterThan(0);
    const [course] = await database.query("SELECT * FROM course_progress WHERE user_id = $1", [`user-${user}`]);
    expect(course).toMatchObject({
      total_files: 3,
      completed_files: 0,
      total_duration: 200,
      watched_duration: 30,
      progress_percentage: "10.00",
    });
    expect(await problems()).toEqual([]);
  });

  it("closes gaps of 250 ms and keeps wider ones", async () => {
    await newUser();
    await write({
      seq: 1,
      played: [
        [0, 1000],
        [2000, 3000],
      ],
    });
    const progress = await write({
      seq: 2,
      played: [
        [1250, 1749],
        [5000, 6000],
      ],
    });
    expect(progress.watched).toEqual([
      [0, 1.749],
      [2, 3],
      [5, 6],
    ]);
    expect((await write({ seq: 3, played: [[1749, 1750]] })).watched).toEqual([
      [0, 3],
      [5, 6],
    ]);
  });

  it("counts the watch time of a sequence number once in each session", async () => {
    await newUser();
    await write({ seq: 1, played: [[0, 10_000]] });
    expect((await write({ seq: 1, played: [[0, 10_000]] })).watchTimeSeconds).toBe(10);
    expect((await write({ seq: 2, played: [[0, 10_000]] })).watchTimeSeconds).toBe(20);
    expect((await write({ seq: 1, session: "other", played: [[0, 10_000]] })).watchTimeSeconds).toBe(30);
    expect((await write({ seq: undefined, session: "bare", played: [[5000, 12_000]] })).watchTimeSeconds).toBe(32);
  });

  it("stores a rewind of the live device, and ignores the position of a late one", async () => {
    await newUser();
    await write({ seq: 1, positionMs: 50_000 });
    expect((await write({ seq: 2, positionMs: 20_000 })).position).toBe(20);
    expect((await write({ session: "late", seq: 1, positionMs: 90_000, agoMs: 60_000 })).position).toBe(20);
  });

  it("completes a file at the threshold", async () => {
    await newUser();
    expect((await write({ seq: 1, played: [[0, 89_999]] })).completed).toBe(false);
    expect((await write({ seq: 2, played: [[89_000, 90_000]] })).completed).toBe(true);
    const [row] = await database.query("SELECT completion_source FROM user_progress WHERE user_id = $1", [
      `user-${user}`,
    ]);
    expect(row?.completion_source).toBe("auto");
    const log = await database.query("SELECT activity_type FROM user_activity_log WHERE user_id = $1 ORDER BY id", [
      `user-${user}`,
    ]);
    expect(log.map((entry) => entry.activity_type)).toEqual(["started", "completed"]);
    expect(await problems()).toEqual([]);
  });

  it("answers unknown_file for a file that left the catalogue, and writes the other entries", async () => {
    await newUser();
    const results = await writer.write([
      beat({ seq: 1 }),
      beat({ fileId: "gone", seq: 1 }),
      beat({ fileId: "other", seq: 1 }),
    ]);
    expect(results.map((result) => result.type)).toEqual(["written", "unknown_file", "written"]);
  });

  it("fails the one entry that cannot be written, and writes the others", async () => {
    await newUser();
    const bad = beat({ fileId: "other", seq: 1 });
    bad.position.positionMs = -5;
    const results = await writer.write([
      beat({ seq: 1 }),
      bad,
      beat({ fileId: "optional", seq: 1, played: [[0, 50_000]] }),
    ]);
    expect(results.map((result) => result.type)).toEqual(["written", "failed", "written"]);
    expect(await problems()).toEqual([]);
  });

  describe("with remembered rows", () => {
    async function ids(): Promise<string> {
      await newUser();
      return `user-${user}`;
    }

    it("reads nothing for a heartbeat of a row that it wrote last", async () => {
      const userId = await ids();
      await write({ seq: 1, played: [[0, 1000]] });
      const statements: string[] = [];
      const pool = createPool({
        connectionString: database.url,
        max: 1,
        queryTimeoutMs: 5000,
        applicationName: "watched",
        logger: silent,
        options: { pipeline: true },
      });
      pool.on("connect", (client) => {
        const original = client.query.bind(client) as (query: string | { text: string }, ...rest: unknown[]) => unknown;
        client.query = ((query: string | { text: string }, ...rest: unknown[]) => {
          statements.push(typeof query === "string" ? query : query.text);
          return original(query, ...rest);
        }) as never;
      });
      const catalogue = new CatalogueCache({ pool: database.pool });
      const watched = new ProgressWriter({ pool, catalogue, metrics: createMetrics(), logger: silent });
      const reads = () => statements.splice(0).filter((text) => /look_up_rows|FROM files/.test(text)).length;
      await watched.write([beat({ userId, seq: 2, played: [[0, 2000]] })]);
      expect(reads()).toBe(2);
      for (const seq of [3, 4]) await watched.write([beat({ userId, seq, played: [[0, seq * 1000]] })]);
      await pool.end();
      expect(reads()).toBe(0);
      expect(await problems()).toEqual([]);
    });

    it("merges into the row as another process left it", async () => {
      const userId = await ids();
      const other = new ProgressWriter({
        pool: database.pool,
        catalogue: new CatalogueCache({ pool: database.pool }),
        metrics: createMetrics(),
        logger: silent,
      });
      await write({ seq: 1, played: [[0, 10_000]] });
      await other.write([beat({ userId, session: "other", seq: 1, played: [[20_000, 30_000]] })]);
      const progress = await write({ seq: 2, played: [[10_000, 12_000]] });
      expect(progress).toMatchObject({ watchedSeconds: 22, watchTimeSeconds: 22 });
      await other.write([beat({ userId, session: "other", seq: 2, played: [[30_000, 31_000]] })]);
      expect((await write({ seq: 3, played: [[12_000, 13_000]] })).watchedSeconds).toBe(24);
      expect(await problems()).toEqual([]);
    });

    it("reads the row again before it decides that a beat changes nothing", async () => {
      const userId = await ids();
      const late = { seq: 1, agoMs: 5000, played: [[0, 95_000]] as const };
      expect((await write(late)).completed).toBe(true);
      const again = { ...late, agoMs: 6000 };
      expect((await write(again)).completed).toBe(true);
      await database.query("UPDATE user_progress SET completed = false WHERE user_id = $1", [userId]);
      // After an un-complete the next beat completes a row that is over its threshold.
      const [before] = await database.query("SELECT completed, version FROM user_progress WHERE user_id = $1", [
        userId,
      ]);
      expect(before?.completed).toBe(false);
      const progress = await write(again);
      expect(progress.completed).toBe(true);
      expect(progress.version).toBeGreaterThan(before?.version as number);
      expect(await problems()).toEqual([]);
    });

    it("begins a row anew that was deleted since it was remembered, also for another session", async () => {
      for (const session of ["session", "another"]) {
        await newUser();
        await write({ positionMs: 5000, played: [[0, 5000]], seq: 1 });
        await database.query("DELETE FROM user_progress WHERE user_id = $1", [`user-${user}`]);
        const progress = await write({ positionMs: 9000, played: [[8000, 9000]], seq: 2, session });
        expect(progress).toMatchObject({ watched: [[8, 9]], watchTimeSeconds: 1 });
        expect(await problems()).toEqual([]);
      }
    });

    it("drops a beat observed before a reset that it has not heard of", async () => {
      const userId = await ids();
      await write({ seq: 1, played: [[0, 10_000]] });
      await createProgressOperations({ pool: database.pool }).reset(userId, { fileId: "file" }, "tester");
      const [result] = await writer.write([beat({ seq: 2, agoMs: 60_000, played: [[10_000, 20_000]] })]);
      expect(result).toMatchObject({ type: "written", dropped: true, progress: { epoch: 1, watched: [] } });
      expect((await write({ seq: 3, played: [[0, 1000]] })).watchedSeconds).toBe(1);
      expect(await problems()).toEqual([]);
    });

    it("uses a threshold that changed without a write of the row", async () => {
      const userId = await ids();
      await write({ seq: 1, played: [[0, 40_000]] });
      await database.query("UPDATE files SET completion_threshold = 0.45 WHERE id = 'file'");
      expect((await write({ seq: 2, played: [[40_000, 46_000]] })).completed).toBe(true);
      await database.query("UPDATE files SET completion_threshold = NULL WHERE id = 'file'");
      const rows = await database.query("SELECT completed FROM user_progress WHERE user_id = $1", [userId]);
      expect(rows).toEqual([{ completed: true }]);
      expect(await problems()).toEqual([]);
    });

    it("writes a row whose sum was deleted by hand", async () => {
      const userId = await ids();
      await write({ seq: 1, played: [[0, 10_000]] });
      await database.query("DELETE FROM lesson_progress WHERE user_id = $1", [userId]);
      await database.query("DELETE FROM course_progress WHERE user_id = $1", [userId]);
      expect((await write({ seq: 2, played: [[10_000, 20_000]] })).watchedSeconds).toBe(20);
      await database.query("SELECT playhead_repair_course('course')");
      expect(await problems()).toEqual([]);
    });

    it("raises the version of row, lesson and course with every write", async () => {
      const userId = await ids();
      const versions = async () => {
        const [row] = await database.query<{ all: number[] }>(
          `SELECT ARRAY[p.version, l.version, c.version] AS all FROM user_progress AS p
           JOIN lesson_progress AS l ON l.user_id = p.user_id JOIN course_progress AS c ON c.user_id = p.user_id WHERE p.user_id = $1`,
          [userId],
        );
        return row?.all ?? [];
      };
      await write({ seq: 1, played: [[0, 1000]] });
      const [before, { version }, after] = [
        await versions(),
        await write({ seq: 2, played: [[1000, 2000]] }),
        await versions(),
      ];
      for (const [i, value] of after.entries()) expect(value).toBeGreaterThan(before[i] as number);
      expect(after[0]).toBe(version);
    });
  });
});
