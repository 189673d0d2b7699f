import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import type { CourseTree } from "../protocol/course.ts";
import { createCatalogueStore } from "./catalogue-store.ts";

const TREE: CourseTree = {
  title: "Course",
  instructorId: "teacher",
  completionThreshold: 0.8,
  acceptReported: true,
  lessons: [
    {
      id: "l1",
      title: "One",
      files: [
        { id: "f1", title: "First", durationSeconds: 100, required: true, startSeconds: 5, creditsAtSeconds: 95 },
        { id: "f2", title: "Second", required: true },
      ],
    },
    { id: "l2", title: "Two", files: [{ id: "f3", title: "Third", durationSeconds: 60.5, required: false }] },
  ],
};

describe("the store of the catalogue", () => {
  let database: TestDatabase;
  let store: ReturnType<typeof createCatalogueStore>;

  beforeAll(async () => {
    database = await createTestDatabase();
    store = createCatalogueStore({ pool: database.pool });
  });
  beforeEach(async () => {
    await database.query("DELETE FROM courses");
    await database.query("DELETE FROM users");
  });
  afterAll(() => database.drop());

  async function watch(fileId: string, watched: string): Promise<void> {
    await database.query("INSERT INTO users (id) VALUES ('alice') ON CONFLICT DO NOTHING");
    await database.query(
      `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, watched)
       SELECT 'alice', id, lesson_id, course_id, $2::int4multirange FROM files WHERE id = $1`,
      [fileId, watched],
    );
  }

  async function courseRow() {
    const [row] = await database.query("SELECT * FROM course_progress WHERE user_id = 'alice'");
    return row;
  }

  it("returns the tree that was put, and the same tag for the same tree", async () => {
    const first = await store.put("c", TREE);
    expect(first).toMatchObject({ created: true, course: { courseId: "c", tree: TREE } });
    const again = await store.put("c", TREE);
    expect(again).toEqual({ created: false, course: first.course });
    expect(await store.get("c")).toEqual(first.course);
  });

  it("retires a file that the tree no longer names, keeps its progress, and counts it again when a tree names it again", async () => {
    await store.put("c", TREE);
    await watch("f1", "{[0,50000)}");
    expect(await courseRow()).toMatchObject({ total_files: 2, contribution_ms: 50_000, watched_ms: 50_000 });
    await store.put("c", { ...TREE, lessons: TREE.lessons.slice(1) });
    expect(await courseRow()).toMatchObject({
      total_files: 0,
      contribution_ms: 0,
      watched_ms: 0,
      progress_percentage: "0.00",
    });
    expect(await database.query("SELECT watched::text FROM user_progress")).toEqual([{ watched: "{[0,50000)}" }]);
    await store.put("c", TREE);
    expect(await courseRow()).toMatchObject({ total_files: 2, contribution_ms: 50_000, watched_ms: 50_000 });
  });

  it("completes rows that a lower threshold lifts, and takes no completion back for a higher one", async () => {
    await store.put("c", TREE);
    // 90 s lie between start and credits; 0.8 of them are 72 s.
    await watch("f1", "{[0,71999)}");
    expect(await courseRow()).toMatchObject({ completed_files: 0 });
    await store.put("c", { ...TREE, completionThreshold: 0.5 });
    expect(await courseRow()).toMatchObject({ completed_files: 1 });
    await store.put("c", { ...TREE, completionThreshold: 1 });
    expect(await courseRow()).toMatchObject({ completed_files: 1 });
  });

  it("lowers the percentage when content is added, and revokes no completion", async () => {
    await store.put("c", {
      title: "c",
      lessons: [{ id: "l1", title: "l", files: [{ id: "f1", title: "f", durationSeconds: 10 }] }],
    });
    await watch("f1", "{[0,10000)}");
    expect(await courseRow()).toMatchObject({ completed_files: 1, progress_percentage: "100.00" });
    const files = ["f1", "f4", "f5"].map((id) => ({ id, title: id, durationSeconds: 10 }));
    await store.put("c", { title: "c", lessons: [{ id: "l1", title: "l", files }] });
    expect(await courseRow()).toMatchObject({ completed_files: 1, total_files: 3, progress_percentage: "33.33" });
  });

  it("moves the progress of a file with the file to another lesson", async () => {
    await store.put("c", TREE);
    await watch("f1", "{[0,50000)}");
    const [one, two] = TREE.lessons;
    if (one === undefined || two === undefined) throw new Error("the tree has two lessons");
    const moved = {
      ...TREE,
      lessons: [
        { ...one, files: one.files.slice(1) },
        { ...two, files: [...two.files, ...one.files.slice(0, 1)] },
      ],
    };
    await store.put("c", moved);
    expect(await database.query("SELECT lesson_id, contribution_ms FROM lesson_progress")).toEqual([
      { lesson_id: "l2", contribution_ms: 50_000 },
    ]);
  });

  it("refuses an id that belongs to another course", async () => {
    await store.put("c", TREE);
    await expect(store.put("other", { title: "Other", lessons: TREE.lessons.slice(0, 1) })).rejects.toMatchObject({
      code: "conflict",
      status: 409,
    });
    await expect(database.query("UPDATE files SET course_id = 'x' WHERE id = 'f1'")).rejects.toThrow(
      /belongs to course c/,
    );
  });

  it("changes a course only if its tag is the one that If-Match names", async () => {
    const { course } = await store.put("c", TREE);
    await expect(store.put("c", TREE, { ifMatch: '"stale"' })).rejects.toMatchObject({ code: "conflict", status: 412 });
    await expect(store.put("new", TREE, { ifMatch: "*" })).rejects.toMatchObject({ status: 412 });
    await store.put("c", { ...TREE, title: "Renamed" }, { ifMatch: course.etag });
    await expect(store.delete("c", { ifMatch: course.etag })).rejects.toMatchObject({ status: 412 });
  });

  it("deletes a course with all progress in it", async () => {
    await store.put("c", TREE);
    await watch("f1", "{[0,50000)}");
    await store.delete("c");
    await expect(store.get("c")).rejects.toMatchObject({ code: "not_found" });
    for (const table of ["user_progress", "lesson_progress", "course_progress", "files", "lessons"]) {
      expect(await database.query(`SELECT FROM ${table}`)).toEqual([]);
    }
  });

  describe("with the user who changes a course", () => {
    const ines = { userId: "ines", role: "instructor" } as const;
    const otto = { userId: "otto", role: "instructor" } as const;
    const { instructorId: _, ...UNOWNED } = TREE;
    const codeOf = (change: Promise<unknown>) => change.then(() => "ok").catch((error: { code: string }) => error.code);

    it("gives a new id to one of two instructors who put it at once, and refuses the other", async () => {
      const outcomes = await Promise.all([ines, otto].map((by) => codeOf(store.put("c", UNOWNED, { by }))));
      expect(outcomes.sort()).toEqual(["forbidden", "ok"]);
    });

    it("does not let the old owner's save undo a hand-over that was stored while the save waited", async () => {
      await store.put("c", UNOWNED, { by: ines });
      const [handedOver, saved] = await Promise.all([
        codeOf(store.put("c", { ...UNOWNED, instructorId: "otto" }, { by: ines })),
        codeOf(store.put("c", { ...UNOWNED, title: "Saved late", instructorId: "ines" }, { by: ines })),
      ]);
      expect(handedOver).toBe("ok");
      expect(["ok", "forbidden"]).toContain(saved);
      expect((await store.get("c")).tree.instructorId).toBe("otto");
      expect(await codeOf(store.put("c", { ...UNOWNED, instructorId: "ines" }, { by: ines }))).toBe("forbidden");
      expect((await store.get("c")).tree.instructorId).toBe("otto");
    });

    it("lets nobody but the owner and an admin delete it", async () => {
      await store.put("c", UNOWNED, { by: ines });
      expect(await codeOf(store.delete("c", { by: otto }))).toBe("forbidden");
      expect(await codeOf(store.delete("c", { by: { userId: "ines", role: "learner" } }))).toBe("forbidden");
      expect(await codeOf(store.delete("c", { by: ines }))).toBe("ok");
    });
  });

  it("takes 16,000 files soon after the planner has seen almost empty tables", async () => {
    await store.put("small", { title: "Small", lessons: [{ id: "s", title: "S", files: [{ id: "s1", title: "S" }] }] });
    // Pages of what was deleted, and one row: without the statistics of this moment the planner would guess more.
    await database.query("VACUUM ANALYZE courses, lessons, files, user_progress, lesson_progress, course_progress");
    const filesOf = (lesson: number) =>
      Array.from({ length: 2000 }, (_, i) => ({ id: `big-${lesson}-${i}`, title: "F", durationSeconds: 60 }));
    const lessons = Array.from({ length: 8 }, (_, i) => ({ id: `big-${i}`, title: "L", files: filesOf(i) }));
    await store.put("big", { title: "Big", lessons });
    expect(await database.query("SELECT total_files, total_ms FROM courses WHERE id = 'big'")).toEqual([
      { total_files: 16_000, total_ms: 960_000_000 },
    ]);
    await store.delete("big");
  });
});
