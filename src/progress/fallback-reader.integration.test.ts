import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { type CopiedRow, createFallbackReader, type ReadCopy } from "./fallback-reader.ts";
import { createProgressReader, type ProgressReader } from "./progress-reader.ts";

const COPY: CopiedRow = {
  userId: "lost",
  fileId: "f1",
  lessonId: "l1",
  courseId: "c1",
  durationMs: 60_000,
  positionMs: 30_000,
  watched: "{[0,30000)}",
  watchedMs: 30_000,
  watchTimeMs: 31_000,
  completed: false,
  lastWatchedMs: Date.parse("2026-11-01T10:00:00Z"),
  epoch: 1,
  version: 42,
};

describe("a reader with a copy of progress", () => {
  let database: TestDatabase;
  let reader: ProgressReader;
  const readCopy = vi.fn<ReadCopy>();

  beforeAll(async () => {
    database = await createTestDatabase();
    const { pool } = database;
    const file = (id: string) => ({ id, title: id, durationSeconds: 60 });
    await createCatalogueStore({ pool }).put("c1", {
      title: "One",
      lessons: [
        { id: "l1", title: "One", files: [file("f1"), file("f2")] },
        { id: "l2", title: "Two", files: [file("f3")] },
      ],
    });
    await database.query("INSERT INTO users (id) VALUES ('known')");
    await database.query(
      "INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, position_ms) VALUES ('known', 'f1', 'l1', 'c1', 7000)",
    );
    reader = createFallbackReader({
      reader: createProgressReader({ pool }),
      pool,
      readCopy,
      logger: pino({ level: "silent" }),
    });
  });
  afterAll(() => database.drop());
  beforeEach(() => {
    readCopy.mockReset();
    readCopy.mockImplementation(async (userId) => (userId === "lost" ? [COPY] : []));
  });

  it("reads a user whom the database does not know from the copy", async () => {
    expect(await reader.readFile("lost", "f1")).toMatchObject({
      position: 30,
      resumeAt: 28,
      watched: [[0, 30]],
      percentage: 50,
      epoch: 1,
      version: 42,
      lastWatched: "2026-11-01T10:00:00.000Z",
    });
  });

  it("asks the copy for no user who was deleted: the copy may not have come so far", async () => {
    await database.query("SELECT delete_user('erased')");
    readCopy.mockResolvedValue([{ ...COPY, userId: "erased" }]);
    expect(await reader.readFile("erased", "f1")).toMatchObject({ position: 0, version: 0 });
    expect((await reader.readCourse("erased", "c1")).watchedDuration).toBe(0);
    expect(readCopy).not.toHaveBeenCalled();
  });

  it("computes the sums of a course from the copy", async () => {
    readCopy.mockResolvedValue([COPY, { ...COPY, fileId: "f3", lessonId: "l2", completed: true, watchedMs: 60_000 }]);
    const course = await reader.readCourse("lost", "c1");
    expect(course).toMatchObject({ completedFiles: 1, watchedDuration: 90, percentage: 50 });
    expect(course.lessons).toMatchObject([
      { lessonId: "l1", completedFiles: 0, percentage: 25 },
      { lessonId: "l2", completedFiles: 1, percentage: 100 },
    ]);
    expect(course.files.map(({ version }) => version)).toEqual([42, 0, 42]);
  });

  it("does not ask the copy for users whom the database knows, with or without progress", async () => {
    expect(await reader.readFile("known", "f1")).toMatchObject({ position: 7 });
    expect(await reader.readFile("known", "f2")).toMatchObject({ version: 0 });
    expect(await reader.readCourse("known", "c1")).toMatchObject({ completedFiles: 0 });
    expect(readCopy).not.toHaveBeenCalled();
  });

  it("treats a user as new if the copy does not know it either, or cannot be reached", async () => {
    expect(await reader.readFile("new", "f1")).toMatchObject({ version: 0, position: 0 });
    readCopy.mockRejectedValue(new Error("away"));
    expect(await reader.readFile("lost", "f1")).toMatchObject({ version: 0, position: 0 });
    expect(await reader.readCourse("lost", "c1")).toMatchObject({ version: 0, percentage: 0 });
  });
});
