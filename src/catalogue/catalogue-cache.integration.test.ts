import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import type { CourseFile } from "../protocol/course.ts";
import { CatalogueCache } from "./catalogue-cache.ts";
import { createCatalogueStore } from "./catalogue-store.ts";

const FIRST: CourseFile = { id: "f1", title: "First", durationSeconds: 100, startSeconds: 5, creditsAtSeconds: 95 };
const SECOND: CourseFile = { id: "f2", title: "Second", required: false };

describe("the cache of the catalogue", () => {
  let database: TestDatabase;
  let cache: CatalogueCache;

  beforeAll(async () => {
    database = await createTestDatabase();
  });
  beforeEach(async () => {
    await putCourse([FIRST, SECOND]);
    cache = new CatalogueCache({ pool: database.pool });
  });
  afterAll(() => database.drop());

  async function putCourse(files: CourseFile[]): Promise<void> {
    const store = createCatalogueStore({ pool: database.pool });
    await store.put("c", { title: "Course", lessons: [{ id: "l", title: "Lesson", files }] });
  }

  it("finds files with the facts that their heartbeats are decided by", async () => {
    const [course] = await database.query<{ version: number }>(
      "SELECT catalogue_version AS version FROM courses WHERE id = 'c'",
    );
    const place = { lessonId: "l", courseId: "c", catalogueVersion: course?.version };
    expect(await Promise.all(["f1", "f2", "nowhere"].map((id) => cache.findFile(id)))).toEqual([
      {
        ...{ ...place, fileId: "f1", durationMs: 100_000, assumedMs: null, counted: true },
        ...{ completeAtMs: 81_000, startMs: 5000, endMs: 95_000 },
      },
      {
        ...{ ...place, fileId: "f2", durationMs: null, assumedMs: 100_000, counted: false },
        ...{ completeAtMs: null, startMs: 0, endMs: null },
      },
      null,
    ]);
  });

  it("tells without asking the database which files exist and which do not", async () => {
    expect(cache.peekFile("f1")).toBeUndefined();
    await Promise.all([cache.findFile("f1"), cache.findFile("nowhere")]);
    expect(cache.peekFile("f1")?.durationMs).toBe(100_000);
    expect(cache.peekFile("nowhere")).toBeNull();
  });

  it("says for how long an unknown file may be one that it has not read yet, and when the answer is sure", async () => {
    expect(await cache.findFile("nowhere")).toBeNull();
    expect(cache.behindMs("nowhere")).toBe(0);
    const later = vi.spyOn(performance, "now").mockReturnValue(performance.now() + 2000);
    expect(cache.behindMs("nowhere")).toBeGreaterThan(0);
    later.mockRestore();
    cache.forgetAll();
    expect(await cache.findFile("nowhere")).toBeNull();
    expect(cache.behindMs("nowhere")).toBeGreaterThan(0);
  });

  it("keeps a course's facts until the course is forgotten", async () => {
    await Promise.all([cache.findFile("f1"), cache.findCourse("c"), cache.findLesson("l"), cache.findFile("nowhere")]);
    await database.query("DELETE FROM courses");
    expect((await cache.findFile("f1"))?.durationMs).toBe(100_000);
    expect((await cache.findCourse("c"))?.title).toBe("Course");
    expect((await cache.findLesson("l"))?.courseId).toBe("c");
    cache.forgetCourse("c");
    expect(cache.peekFile("nowhere")).toBeUndefined();
    expect(await cache.findFile("f1")).toBeNull();
    expect(await cache.findCourse("c")).toBeNull();
    expect(await cache.findLesson("l")).toBeNull();
  });

  it("keeps the facts of other courses when a course is forgotten, and none when all are", async () => {
    await cache.findFile("f1");
    cache.forgetCourse("another");
    expect(cache.peekFile("f1")).toBeDefined();
    cache.forgetAll();
    expect(cache.peekFile("f1")).toBeUndefined();
  });

  it("loads files through a given connection whatever is cached, and caches them", async () => {
    await cache.findFile("f1");
    await putCourse([{ ...FIRST, durationSeconds: 70 }]);
    const loaded = await cache.loadFiles(database.pool, ["f1", "nowhere"]);
    expect([...loaded.keys()]).toEqual(["f1"]);
    expect(loaded.get("f1")?.durationMs).toBe(70_000);
    expect(cache.peekFile("f1")).toBe(loaded.get("f1"));
    expect(cache.peekFile("nowhere")).toBeNull();
  });

  it("does not tell a file that was cached under an older catalogue version than another file of its course", async () => {
    await cache.findFile("f1");
    await putCourse([{ ...FIRST, durationSeconds: 70 }, SECOND]);
    await cache.findFile("f2");
    expect(cache.peekFile("f1")).toBeUndefined();
    expect((await cache.findFile("f1"))?.durationMs).toBe(70_000);
    expect(cache.peekFile("f1")?.durationMs).toBe(70_000);
  });

  it("does not tell facts of an older catalogue version that were read after newer ones", async () => {
    const client = await database.pool.connect();
    try {
      await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
      await client.query("SELECT 1");
      await putCourse([{ ...FIRST, durationSeconds: 70 }]);
      await cache.findFile("f1");
      expect((await cache.loadFiles(client, ["f1"])).get("f1")?.durationMs).toBe(100_000);
      expect(cache.peekFile("f1")).toBeUndefined();
    } finally {
      await client.query("ROLLBACK");
      client.release();
    }
  });

  it("does not keep facts whose reading began before their course was forgotten", async () => {
    const reading = cache.findFile("f1");
    const loading = cache.loadFiles(database.pool, ["f2"]);
    await Promise.resolve();
    cache.forgetCourse("c");
    expect((await reading)?.fileId).toBe("f1");
    expect((await loading).get("f2")?.fileId).toBe("f2");
    expect(cache.peekFile("f1")).toBeUndefined();
    expect(cache.peekFile("f2")).toBeUndefined();
  });
});
