import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import type { Editor } from "../catalogue/catalogue.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createProgressOperations } from "./progress-operations.ts";
import type { ProgressOperations } from "./progress-service.ts";

const INES: Editor = { userId: "ines", role: "instructor" };
const OTTO: Editor = { userId: "otto", role: "instructor" };

/** Of this database alone: other tests use the same server. */
const WAITING = `SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
  WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted`;

const CHANGES: [string, (operations: ProgressOperations, by: Editor) => Promise<void>][] = [
  ["reset of a course", (operations, by) => operations.reset("luc", { courseId: "c" }, by)],
  ["reset of a file", (operations, by) => operations.reset("luc", { courseId: "c", fileId: "f1" }, by)],
  ["completion", (operations, by) => operations.complete("luc", { courseId: "c" }, { source: "manual", by })],
  ["waiver", (operations, by) => operations.complete("luc", { courseId: "c", fileId: "f2" }, { source: "waived", by })],
  ["un-completion", (operations, by) => operations.uncomplete("luc", { courseId: "c" }, by)],
];

describe("an operation of an instructor", () => {
  let database: TestDatabase;
  let operations: ProgressOperations;
  beforeAll(async () => {
    database = await createTestDatabase();
    operations = createProgressOperations(database);
  });
  afterAll(() => database.drop());
  beforeEach(async () => {
    const files = ["f1", "f2"].map((id) => ({ id, title: id, durationSeconds: 60 }));
    const tree = { title: "Course", instructorId: "ines", lessons: [{ id: "l", title: "Lesson", files }] };
    await createCatalogueStore(database).put("c", tree);
    await operations.complete("luc", { fileId: "f1" }, { source: "manual", by: "luc" });
  });
  afterEach(async () => {
    await database.query("DELETE FROM courses");
    await database.query("DELETE FROM users");
  });

  const state = async () => ({
    rows: await database.query("SELECT file_id, epoch, completed, version FROM user_progress ORDER BY file_id"),
    log: await database.query("SELECT id FROM user_activity_log ORDER BY id"),
  });
  const codeOf = (change: Promise<unknown>) => change.then(() => "ok").catch((error: { code: string }) => error.code);

  /** Does the work while the course is locked, changes the course, and resolves with what became of the work. */
  async function interleaved(work: () => Promise<void>, sql: string): Promise<string> {
    const other = await database.pool.connect();
    try {
      await other.query("BEGIN");
      await other.query("SELECT lock_catalogue('c')");
      const outcome = codeOf(work());
      const isWaiting = async () => (await database.query(WAITING)).length > 0;
      await waitFor(isWaiting, { what: "the operation to wait for the course" });
      await other.query(sql);
      await other.query("COMMIT");
      return await outcome;
    } finally {
      other.release();
    }
  }

  it.each(CHANGES)("is refused where the course was handed over while its %s waited", async (_, change) => {
    const before = await state();
    const handOver = "UPDATE courses SET instructor_id = 'otto' WHERE id = 'c'";
    expect(await interleaved(() => change(operations, INES), handOver)).toBe("forbidden");
    expect(await state()).toEqual(before);
    expect(await codeOf(change(operations, OTTO))).toBe("ok");
  });

  it.each(CHANGES)("is done for the new owner, whose %s waited for the hand-over", async (_, change) => {
    const handOver = "UPDATE courses SET instructor_id = 'otto' WHERE id = 'c'";
    expect(await interleaved(() => change(operations, OTTO), handOver)).toBe("ok");
  });

  it.each(CHANGES)("is not found where the course was deleted while its %s waited", async (_, change) => {
    expect(await interleaved(() => change(operations, INES), "DELETE FROM courses WHERE id = 'c'")).toBe("not_found");
    expect((await state()).rows).toEqual([]);
  });

  it("is refused to learners, and for a file of another course", async () => {
    const learner: Editor = { userId: "ines", role: "learner" };
    for (const [, change] of CHANGES) expect(await codeOf(change(operations, learner))).toBe("forbidden");
    for (const target of [{ courseId: "c", fileId: "nowhere" }, { courseId: "none" }]) {
      expect(await codeOf(operations.reset("luc", target, INES))).toBe("not_found");
    }
    expect(await codeOf(operations.reset("luc", { courseId: "c" }, { userId: "root", role: "admin" }))).toBe("ok");
  });
});
