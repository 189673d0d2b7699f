import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createProgressReader } from "./progress-reader.ts";
import { PAGE_ROWS } from "./read-pages.ts";
import { createTopicReader } from "./topic-reader.ts";

const FILES = 4 * PAGE_ROWS + 17;
/** Their order is neither that of their ids nor that of their versions. */
const fileIds = Array.from({ length: FILES }, (_, i) => `f${(i * 7919) % FILES}`);

describe("a course of many files", () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
    const files = fileIds.map((id) => ({ id, title: id, durationSeconds: 60 }));
    await createCatalogueStore(database).put("c1", {
      title: "Long",
      lessons: [
        { id: "l1", title: "One", files: files.slice(0, 1500) },
        { id: "l2", title: "Two", files: files.slice(1500) },
      ],
    });
    await database.query("INSERT INTO users (id) VALUES ('alice')");
    await database.query(
      `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, position_ms)
       SELECT 'alice', id, lesson_id, course_id, 7000 FROM files WHERE id <> 'f3'`,
    );
  });
  afterAll(() => database.drop());

  it("is read with every file, in the order of the course", async () => {
    const course = await createProgressReader(database).readCourse("alice", "c1");
    expect(course.files.map(({ fileId }) => fileId)).toEqual(fileIds);
    expect(course.files.filter(({ position }) => position !== 7)).toMatchObject([{ fileId: "f3", version: 0 }]);
    expect(course).toMatchObject({ totalFiles: FILES, lessons: [{ lessonId: "l1" }, { lessonId: "l2" }] });
  });

  it("is read in its order where files share a place", async () => {
    await database.query("UPDATE files SET position = 1 WHERE lesson_id = 'l1'");
    const { files } = await createProgressReader(database).readCourse("alice", "c1");
    expect(new Set(files.map(({ fileId }) => fileId))).toEqual(new Set(fileIds));
    expect(files).toHaveLength(FILES);
  });

  it("is in the snapshot of its learner with every row, the newest first", async () => {
    await database.query("UPDATE user_progress SET position_ms = 9000 WHERE file_id = 'f1000'");
    const reader = createTopicReader(database);
    for (const courseId of [null, "c1"]) {
      const { files } = await reader.ofUser("alice", courseId);
      expect(files).toHaveLength(FILES - 1);
      expect(files[0]).toMatchObject({ fileId: "f1000", position: 9 });
      const versions = files.map(({ version }) => version);
      expect(versions).toEqual([...new Set(versions)].sort((a, b) => b - a));
    }
    expect((await reader.ofUser("alice", "c2")).files).toEqual([]);
  });

  it("has all its rows read by their keys", async () => {
    const rows = await createTopicReader(database).fileRows(fileIds.map((id) => ["alice", id]));
    expect(rows.map(({ fileId }) => fileId).sort()).toEqual(fileIds.filter((id) => id !== "f3").sort());
  });
});
