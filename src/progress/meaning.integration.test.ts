import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { recount } from "../../test/helpers/recount.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { loadConfig } from "../config.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { CourseTree } from "../protocol/course.ts";
import { createProgress, type Progress } from "./create-progress.ts";
import type { ProgressService } from "./progress-service.ts";

/*
 * What progress means where a catalogue is incomplete, wrong or corrected later, and where time is not what it seems.
 */

type File = CourseTree["lessons"][number]["files"][number];

let database: TestDatabase;
let store: ReturnType<typeof createCatalogueStore>;
let progress: Progress;
let service: ProgressService;

beforeAll(async () => {
  database = await createTestDatabase();
  const { pool } = database;
  store = createCatalogueStore({ pool });
  progress = createProgress({
    config: { ...loadConfig({}), FLUSH_INTERVAL_MS: 5 },
    database: { pool, writerPool: pool },
    catalogue: new CatalogueCache({ pool }),
    metrics: createMetrics(),
    logger: createLogger({ level: "silent" }),
    cache: null,
    isBehind: () => false,
    readCopy: null,
    onAccepted: () => undefined,
  });
  service = progress.service;
});
afterAll(async () => {
  await progress.stop(1000);
  await database.drop();
});

let courses = 0;
/** Stores a course of one lesson; ids of files begin with the id of the course. */
async function putCourse(files: Omit<File, "id" | "title">[]): Promise<string> {
  const courseId = `c${courses++}`;
  await store.put(courseId, toTree(courseId, files));
  return courseId;
}
function toTree(courseId: string, files: Omit<File, "id" | "title">[]): CourseTree {
  return {
    title: "Course",
    lessons: [
      {
        id: `${courseId}-l`,
        title: "Lesson",
        files: files.map((file, i) => ({ id: `${courseId}-${i}`, title: "File", ...file })),
      },
    ],
  };
}

const by = { source: "manual", by: "teacher" } as const;
const ann = { userId: "ann", connectionId: "a" };
/** Each has a budget of its own. */
const eve = { userId: "eve", connectionId: "e" };
const bob = { userId: "bob", connectionId: "b" };
const percentageOf = async (userId: string, courseId: string) =>
  (await service.readCourseRow(userId, courseId)).percentage;

async function expectExact(courseId: string): Promise<void> {
  expect(await database.query("SELECT * FROM playhead_check_course($1)", [courseId])).toEqual([]);
  const { recounted, stored } = await recount(database);
  expect(stored).toEqual(recounted);
}

describe("files of unknown duration", () => {
  it("weigh the mean of the known ones, watched or not", async () => {
    const course = await putCourse([{ durationSeconds: 8 }, ...Array.from({ length: 9 }, () => ({}))]);
    await service.heartbeat(ann, { fileId: `${course}-0`, position: 8, played: [[0, 8]] });
    expect(await percentageOf("ann", course)).toBe(10);
    for (let i = 1; i < 10; i++) await service.complete("bob", { fileId: `${course}-${i}` }, by);
    expect(await percentageOf("bob", course)).toBe(90);
    await service.complete("bob", { fileId: `${course}-0` }, by);
    expect(await percentageOf("bob", course)).toBe(100);
    expect((await service.readCourseRow("bob", course)).totalDuration).toBe(8);
    await expectExact(course);
  });

  it("weigh all the same where no duration is known", async () => {
    const course = await putCourse([{}, {}, {}]);
    await service.complete("ann", { fileId: `${course}-1` }, by);
    expect(await percentageOf("ann", course)).toBe(33.33);
    await expectExact(course);
  });

  it("weigh anew when another duration becomes known", async () => {
    const course = await putCourse([{ durationSeconds: 10 }, {}, {}]);
    await service.complete("ann", { fileId: `${course}-2` }, by);
    expect(await percentageOf("ann", course)).toBe(33.33);
    await store.put(course, toTree(course, [{ durationSeconds: 10 }, { durationSeconds: 30 }, {}]));
    // 20 of 60 seconds.
    expect(await percentageOf("ann", course)).toBe(33.33);
    await store.put(
      course,
      toTree(course, [{ durationSeconds: 10 }, { durationSeconds: 30 }, { durationSeconds: 60 }]),
    );
    expect(await percentageOf("ann", course)).toBe(60);
    await expectExact(course);
  });
});

describe("completion", () => {
  it("counts only what was watched between the boundaries", async () => {
    const course = await putCourse([{ durationSeconds: 9, startSeconds: 4, creditsAtSeconds: 8 }]);
    const fileId = `${course}-0`;
    const before = await service.heartbeat(eve, { fileId, position: 4, played: [[0, 4]], seq: 1 });
    expect(before.progress.completed).toBe(false);
    const credits = await service.heartbeat(eve, { fileId, position: 9, played: [[8, 9]], seq: 2 });
    expect(credits.progress.completed).toBe(false);
    const within = await service.heartbeat(eve, { fileId, position: 8, played: [[4, 7.6]], seq: 3 });
    expect(within.progress.completed).toBe(true);
  });

  it("is decided by the boundaries also when the catalogue or a statement by hand changes", async () => {
    const course = await putCourse([{ durationSeconds: 9 }]);
    const fileId = `${course}-0`;
    await service.heartbeat(ann, { fileId, position: 4, played: [[0, 4]] });
    await store.put(course, toTree(course, [{ durationSeconds: 9, startSeconds: 4, creditsAtSeconds: 8 }]));
    expect((await service.readFile("ann", fileId)).completed).toBe(false);
    await database.query("UPDATE user_progress SET watched = '{[0,4000),[8000,9000)}' WHERE file_id = $1", [fileId]);
    expect((await service.readFile("ann", fileId)).completed).toBe(false);
    await store.put(course, toTree(course, [{ durationSeconds: 9, creditsAtSeconds: 4 }]));
    expect((await service.readFile("ann", fileId)).completed).toBe(true);
    await expectExact(course);
  });
});

describe("the ends of a file", () => {
  it("are watched where at most 250 ms are missing there, so that a whole file is 100 percent", async () => {
    const course = await putCourse([{ durationSeconds: 8, completionThreshold: 1 }]);
    const fileId = `${course}-0`;
    const { progress: whole } = await service.heartbeat(bob, { fileId, position: 7.9, played: [[0.25, 7.75]] });
    expect(whole).toMatchObject({ watched: [[0, 8]], percentage: 100, completed: true });
    const { progress: less } = await service.heartbeat(
      { userId: "cleo", connectionId: "c" },
      { fileId, position: 7.7, played: [[0.251, 7.749]] },
    );
    expect(less).toMatchObject({ watched: [[0.251, 7.749]], completed: false });
  });
});

describe("a reset", () => {
  it("does not drop a beat of the current epoch, whatever age it claims", async () => {
    const course = await putCourse([{ durationSeconds: 60 }]);
    const fileId = `${course}-0`;
    await service.heartbeat(bob, { fileId, position: 5 });
    await service.reset("bob", { fileId }, "bob");
    // The database's clock was set back since the reset.
    await database.query("UPDATE user_progress SET reset_at = reset_at + interval '1 hour' WHERE file_id = $1", [
      fileId,
    ]);
    const old = { fileId, position: 9, played: [[8, 9]] as [number, number][] };
    expect((await service.heartbeat(bob, { ...old, epoch: 0 })).progress.watched).toEqual([]);
    expect((await service.heartbeat(bob, old)).progress.watched).toEqual([]);
    expect((await service.heartbeat(bob, { ...old, epoch: 1, ageMs: 600_000 })).progress).toMatchObject({
      position: 9,
      watched: [[8, 9]],
    });
  });
});

describe("the position", () => {
  it("is that of the session's highest number, although an earlier beat seems to be later", async () => {
    const course = await putCourse([{ durationSeconds: 60 }]);
    const beat = { fileId: `${course}-0`, sessionId: "s" };
    await service.heartbeat(ann, { ...beat, position: 10, seq: 1, ageMs: 0 });
    const sought = await service.heartbeat(ann, { ...beat, position: 40, seq: 2, ageMs: 500 });
    expect(sought.progress.position).toBe(40);
    const late = await service.heartbeat(ann, { ...beat, position: 10, seq: 1, ageMs: 0 });
    expect(late.progress.position).toBe(40);
    const other = await service.heartbeat(ann, { ...beat, sessionId: "tv", position: 20, seq: 0, ageMs: 0 });
    expect(other.progress.position).toBe(20);
  });
});

describe("when a learner was last active in a course", () => {
  it("comes from beats alone, not from a change of the catalogue or an instructor", async () => {
    const course = await putCourse([{ durationSeconds: 60 }, { durationSeconds: 60 }]);
    await service.complete("finn", { fileId: `${course}-1` }, by);
    expect(await service.readCourseRow("finn", course)).toMatchObject({ lastWatched: null, percentage: 50 });
    const finn = { userId: "finn", connectionId: "f" };
    const beat = { fileId: `${course}-0`, position: 5, played: [[0, 5]] as [number, number][], ageMs: 3_600_000 };
    const seen = await service.heartbeat(finn, { ...beat, seq: 1, sessionId: "s" });
    const row = await service.readCourseRow("finn", course);
    expect(row.lastWatched).toBe(seen.progress.lastWatched);
    await store.put(course, toTree(course, [{ durationSeconds: 90 }, { durationSeconds: 60 }]));
    expect(await service.readCourseRow("finn", course)).toMatchObject({ lastWatched: row.lastWatched });
    // Nothing new is watched, so no sum moves.
    const again = await service.heartbeat(finn, { ...beat, seq: 2, sessionId: "s", ageMs: 0 });
    expect((await service.readCourseRow("finn", course)).lastWatched).toBe(again.progress.lastWatched);
  });
});

describe("sums of huge courses", () => {
  it("can be read, however long the files are together", async () => {
    const course = await putCourse(Array.from({ length: 1500 }, () => ({ durationSeconds: 2_147_483 })));
    await service.complete("dan", { courseId: course }, by);
    const [row] = await database.query("SELECT * FROM course_progress WHERE course_id = $1", [course]);
    expect(row).toMatchObject({ total_duration: 1500 * 2_147_483, progress_percentage: "100.00" });
    expect(await service.readCourseRow("dan", course)).toMatchObject({
      percentage: 100,
      totalDuration: 1500 * 2_147_483,
    });
  });
});
