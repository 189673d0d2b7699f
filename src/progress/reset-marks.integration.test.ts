import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { loadConfig } from "../config.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import { createProgress, type Progress } from "./create-progress.ts";

/*
 * Epochs where there is no row: after a reset of a course, and after rows were deleted.
 */

const FILES = 2000;

/** Of this database alone: other tests use the same server. */
const WAITING = `SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
  WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted`;

let database: TestDatabase;
let progress: Progress;
let catalogue: CatalogueCache;
let users = 0;
let userId: string;

beforeAll(async () => {
  database = await createTestDatabase();
  const { pool } = database;
  catalogue = new CatalogueCache({ pool });
  progress = createProgress({
    config: { ...loadConfig({}), FLUSH_INTERVAL_MS: 5 },
    database: { pool, writerPool: pool },
    catalogue,
    metrics: createMetrics(),
    logger: createLogger({ level: "silent" }),
    cache: null,
    isBehind: () => false,
    readCopy: null,
    onAccepted: () => undefined,
  });
  await put("long", FILES);
});
afterAll(async () => {
  expect(await progress.stop(1000)).toBe(0);
  await database.drop();
});
beforeEach(async () => {
  users += 1;
  userId = `user-${users}`;
  await put("c", 3);
});

/** Puts a course with so many files. Their ids begin with `prefix`. */
async function put(courseId: string, count: number, prefix = courseId): Promise<void> {
  const files = Array.from({ length: count }, (_, i) => ({ id: `${prefix}-${i}`, title: "File", durationSeconds: 60 }));
  const tree = { title: "Course", lessons: [{ id: `${courseId}-l`, title: "Lesson", files }] };
  await createCatalogueStore({ pool: database.pool }).put(courseId, tree);
  forget();
}

/** Another process tells this one that the catalogue has changed. */
function forget(): void {
  for (const id of ["c", "d"]) catalogue.forgetCourse(id);
}

async function deleteCourse(courseId: string): Promise<void> {
  await createCatalogueStore({ pool: database.pool }).delete(courseId);
  forget();
}

async function beat(fileId: string, given: Partial<Heartbeat> = {}) {
  const sent: Heartbeat = { fileId, position: 1, played: [[0, 1]], ...given };
  const { progress: told } = await progress.service.heartbeat({ userId, connectionId: userId }, sent);
  return told;
}
const read = (fileId: string) => progress.service.readFile(userId, fileId);
const reset = (target: { courseId: string } | { fileId: string }) => progress.service.reset(userId, target, userId);
const rows = () =>
  database.query<{ file_id: string; epoch: number }>(
    "SELECT file_id, epoch FROM user_progress WHERE user_id = $1 ORDER BY file_id",
    [userId],
  );
const marks = () =>
  database.query("SELECT course_id, file_id, epoch FROM reset_marks WHERE user_id = $1 ORDER BY 1, 2", [userId]);

/** What was made before the reset or the deletion is acked, and changes nothing. */
async function expectDropped(fileId: string, epoch: number): Promise<void> {
  const before = await rows();
  for (const old of [{ epoch: epoch - 1 }, { ageMs: 600_000 }]) {
    const told = await beat(fileId, { ...old, position: 9 });
    expect(told).toMatchObject({ epoch, position: 0, watched: [], lastWatched: null });
    expect(told.version).toBeGreaterThan(0);
  }
  expect(await rows()).toEqual(before);
}

describe("a reset of a course", () => {
  it("writes the rows that are there and one mark, and raises the epoch of every file", async () => {
    for (let i = 0; i < 3; i++) await beat(`long-${i}`);
    for (const epoch of [1, 2]) {
      const [before] = await database.query<{ xid: string }>("SELECT pg_current_xact_id()::text AS xid");
      await reset({ courseId: "long" });
      const written = await database.query<{ count: number }>(
        `SELECT count(*)::int AS count FROM (SELECT xmin FROM user_progress WHERE user_id = $1
           UNION ALL SELECT xmin FROM reset_marks WHERE user_id = $1) AS r WHERE xmin::text::bigint > $2::bigint`,
        [userId, before?.xid],
      );
      expect(written).toEqual([{ count: 4 }]);
      expect(await rows()).toEqual([0, 1, 2].map((i) => ({ file_id: `long-${i}`, epoch })));
      expect(await marks()).toEqual([{ course_id: "long", file_id: "", epoch }]);
      const { files } = await progress.service.readCourse(userId, "long");
      expect(files).toHaveLength(FILES);
      for (const file of files) {
        expect(file.epoch).toBe(epoch);
        expect(file.version).toBeGreaterThan(0);
      }
    }
  });

  it("drops old beats of a file that had no row, and counts a beat of the new epoch", async () => {
    await reset({ courseId: "c" });
    await expectDropped("c-0", 1);
    expect(await beat("c-0", { epoch: 1, ageMs: 600_000 })).toMatchObject({ epoch: 1, watched: [[0, 1]] });
    expect(await beat("c-1")).toMatchObject({ epoch: 1, watched: [[0, 1]] });
    expect(await rows()).toEqual([0, 1].map((i) => ({ file_id: `c-${i}`, epoch: 1 })));
    expect(await database.query("SELECT * FROM playhead_check_course('c')")).toEqual([]);
  });

  it("gives its epoch to rows that are made by hand, by a completion, and by the next reset", async () => {
    await reset({ courseId: "c" });
    await progress.service.complete(userId, { fileId: "c-0" }, { source: "manual", by: "teacher" });
    await reset({ fileId: "c-1" });
    await database.query(
      "INSERT INTO user_progress (user_id, file_id, lesson_id, course_id) VALUES ($1, 'c-2', 'c-l', 'c')",
      [userId],
    );
    expect((await rows()).map(({ epoch }) => epoch)).toEqual([1, 2, 1]);
    await reset({ courseId: "c" });
    expect((await rows()).map(({ epoch }) => epoch)).toEqual([2, 3, 2]);
  });

  it("holds for a file that the course gets later, and for no other course", async () => {
    await reset({ courseId: "c" });
    await put("c", 4);
    expect(await read("c-3")).toMatchObject({ epoch: 1, position: 0 });
    await expectDropped("c-3", 1);
    expect(await read("long-0")).toMatchObject({ epoch: 0, version: 0 });
  });

  it("that commits after a batch has read and before it writes drops the old beat of the batch", async () => {
    const other = await database.pool.connect();
    try {
      await database.query("INSERT INTO users (id) VALUES ($1)", [userId]);
      await other.query("BEGIN");
      await other.query("SELECT lock_writers('operation', ARRAY[$1], ARRAY['c'])", [userId]);
      const [late, fresh] = [beat("c-0", { epoch: 0 }), beat("c-1", { epoch: 1 })];
      const isWaiting = async () => (await database.query(WAITING)).length > 0;
      await waitFor(isWaiting, { what: "the batch to wait for the user" });
      await other.query(
        "INSERT INTO reset_marks (user_id, course_id, epoch, reset_at) VALUES ($1, 'c', 1, clock_timestamp())",
        [userId],
      );
      await other.query("COMMIT");
      expect(await late).toMatchObject({ epoch: 1, watched: [] });
      expect(await fresh).toMatchObject({ epoch: 1, watched: [[0, 1]] });
    } finally {
      other.release();
    }
  });
});

describe("a row that was deleted", () => {
  it("begins past its old epoch when its course is put again, also a file that had no row", async () => {
    await beat("c-0");
    await beat("c-1");
    await reset({ fileId: "c-1" });
    await deleteCourse("c");
    expect(await marks()).toEqual([{ course_id: "c", file_id: "", epoch: 2 }]);
    await put("c", 3);
    for (const file of ["c-0", "c-1", "c-2"]) {
      expect(await read(file)).toMatchObject({ epoch: 2, position: 0 });
      await expectDropped(file, 2);
    }
    expect(await beat("c-0", { epoch: 2 })).toMatchObject({ epoch: 2, watched: [[0, 1]] });
  });

  it("begins past its old epoch when its file is put again in another course", async () => {
    await beat("c-0");
    await reset({ courseId: "c" });
    await deleteCourse("c");
    await put("d", 2, "c");
    await expectDropped("c-0", 2);
    expect(await beat("c-0", { epoch: 2 })).toMatchObject({ courseId: "d", epoch: 2, watched: [[0, 1]] });
    await reset({ courseId: "d" });
    expect(await read("c-0")).toMatchObject({ epoch: 3 });
    expect(await read("c-1")).toMatchObject({ epoch: 3 });
    await deleteCourse("d");
  });

  it("begins past its old epoch when it or its file was deleted by hand, and leaves other files alone", async () => {
    for (const statement of [
      "DELETE FROM user_progress WHERE user_id = $1 AND file_id = 'c-0'",
      "DELETE FROM files WHERE id = 'c-0' AND $1 <> ''",
      "DELETE FROM lessons WHERE course_id = 'c' AND $1 <> ''",
    ]) {
      const { epoch } = await read("c-0");
      await beat("c-0", { epoch });
      await database.query(statement, [userId]);
      await put("c", 3);
      expect(await read("c-1")).toMatchObject({ epoch: 0, version: 0 });
      expect(await read("c-0")).toMatchObject({ epoch: epoch + 1 });
      await expectDropped("c-0", epoch + 1);
    }
    expect(await beat("c-1", { epoch: 0 })).toMatchObject({ epoch: 0, watched: [[0, 1]] });
  });

  it("gets versions later than the row had, so that a player takes what it reads", async () => {
    const { version } = await beat("c-0");
    await database.query("DELETE FROM user_progress WHERE user_id = $1", [userId]);
    expect((await read("c-0")).version).toBeGreaterThan(version);
    expect((await beat("c-0", { epoch: 0 })).version).toBeGreaterThan(version);
  });

  it("leaves nothing of a user who was deleted", async () => {
    await beat("c-0");
    await reset({ courseId: "c" });
    await database.query("DELETE FROM users WHERE id = $1", [userId]);
    expect(await marks()).toEqual([]);
    expect(await read("c-0")).toMatchObject({ epoch: 0, version: 0 });
    await deleteCourse("c");
    expect(await marks()).toEqual([]);
  });
});
