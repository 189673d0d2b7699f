import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { startTestFirestore, type TestFirestore } from "../../test/helpers/firestore.ts";
import { createMirroredCourse, putCourses, STRANGE_IDS } from "../../test/helpers/mirrored-course.ts";
import { recount } from "../../test/helpers/recount.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { openFirestore } from "./firestore.ts";
import { FirestoreMirror } from "./firestore-mirror.ts";
import { readRowsAfter } from "./journal.ts";
import { createMirrorReader } from "./mirror-reader.ts";
import { loadState } from "./mirror-state.ts";
import { restoreFromMirror } from "./restore-from-mirror.ts";
import { writeChanges } from "./write-changes.ts";

describe("a restore from the mirror", () => {
  let firestore: TestFirestore;
  let original: TestDatabase;
  let empty: TestDatabase;
  let mirror: FirestoreMirror;
  let tests = 0;

  beforeAll(async () => {
    firestore = await startTestFirestore();
  });
  afterAll(() => firestore.stop());
  beforeEach(async () => {
    tests += 1;
    mirror = new FirestoreMirror(await openFirestore({ projectId: `restore-${tests}` }));
    original = await createTestDatabase();
    empty = await createTestDatabase();
  });
  afterEach(async () => {
    await mirror.close();
    await original.drop();
    await empty.drop();
  });

  /** Writes all rows to the mirror, as a full pass does. */
  async function mirrorAll(): Promise<void> {
    const rows = await readRowsAfter(original.pool, { userId: "", fileId: "" }, 100_000);
    const signal = new AbortController().signal;
    const parts = { mirror, metrics: createMetrics(), logger: createLogger({ level: "silent" }), signal };
    await writeChanges(
      parts,
      rows.map((row) => ({ userId: row.userId, fileId: row.fileId, row })),
    );
  }

  /** Every row with all columns but its number, generated columns too. */
  async function readAll(database: TestDatabase) {
    const rows = await database.query<{ row: string }>(
      "SELECT (to_jsonb(p) - 'id')::text AS row FROM user_progress AS p ORDER BY user_id, file_id",
    );
    return rows.map(({ row }) => row);
  }

  const restore = (options = { force: false }) => restoreFromMirror({ pool: empty.pool, mirror }, options);

  /** Writes rows of every kind that Playhead writes, and rows that somebody wrote by hand. */
  async function fill() {
    const course = await createMirroredCourse(original);
    const users = Array.from({ length: 300 }, (_, i) => `user-${i}`);
    for (const fileId of ["file", "other", "endless"])
      await course.beat(...users.map((userId) => ({ userId, fileId })));
    await course.beat({ userId: "done", played: [[0, 600_000]], session: "other-session", seq: -1 });
    await course.operations.reset("user-1", { courseId: "course" }, "user-1");
    await course.beat({ userId: "user-1", epoch: 1 });
    await course.operations.complete("user-2", { fileId: "file" }, { source: "waived", by: "admin" });
    await course.operations.complete("hand", { courseId: "course" }, { source: "manual", by: "admin" });
    await course.operations.uncomplete("done", { fileId: "file" }, "admin");
    await original.query("INSERT INTO users (id) SELECT unnest($1::text[])", [STRANGE_IDS]);
    await original.query(
      `INSERT INTO user_progress (user_id, file_id, watched, position_ms, last_watched, reset_at, writer_session, writer_seq, reported_bp)
       SELECT u, f, '{[1,2),[1000,1001),[59999,60000)}', 2147483647, '2026-02-03 04:05:06.789012+00', '-infinity', '', 9223372036854775807, 4242
       FROM unnest($1::text[]) AS u, unnest($1::text[]) AS f`,
      [STRANGE_IDS],
    );
    await original.query(
      "UPDATE user_progress SET beat_at = '0044-03-15 12:00:00Z', watch_time_ms = 9007199254740993 WHERE user_id = 'a/b'",
    );
    return course;
  }

  it("announces nothing to webhooks: what is restored was announced before", async () => {
    const course = await createMirroredCourse(original);
    await course.beat({ userId: "done", played: [[0, 600_000]] });
    await mirrorAll();
    await putCourses(empty);
    await empty.query(
      "INSERT INTO webhooks (url, events, secret) VALUES ('http://127.0.0.1:9/', '{completed,course_completed}', 'whsec_')",
    );
    await restore();
    expect(await empty.query("SELECT FROM user_progress WHERE completed")).toHaveLength(1);
    expect(await empty.query("SELECT FROM webhook_events")).toEqual([]);
  });

  it("gives back every row unchanged, and sums that equal a recount", async () => {
    await fill();
    await mirrorAll();
    await putCourses(empty);
    const report = await restore();
    expect(report).toMatchObject({ read: 968, restored: 968, kept: 0, refused: [], foreign: 0 });
    expect(await readAll(empty)).toEqual(await readAll(original));
    const { recounted, stored } = await recount(empty);
    expect(stored).toEqual(recounted);
    expect(stored).toEqual((await recount(original)).stored);
  });

  it("brings back the epoch of files without a row, of every course in which the user has rows", async () => {
    const course = await createMirroredCourse(original);
    for (const userId of ["ann", "bob", "cid"]) await course.beat({ userId });
    for (let i = 0; i < 2; i++) await course.operations.reset("ann", { courseId: "course" }, "ann");
    await course.beat({ userId: "ann", fileId: "other", epoch: 2 });
    await course.operations.reset("ann", { fileId: "file" }, "ann");
    await course.operations.reset("bob", { courseId: "course" }, "bob");
    await mirrorAll();
    await putCourses(empty);
    await restore();
    const marks = "SELECT user_id, course_id, file_id, epoch FROM reset_marks ORDER BY 1";
    expect(await empty.query(marks)).toEqual(await original.query(marks));
    expect(await empty.query(marks)).toMatchObject([
      { user_id: "ann", epoch: 2 },
      { user_id: "bob", epoch: 1 },
    ]);
  });

  it("gives later writes and all sums higher versions than any mirrored row", async () => {
    const course = await createMirroredCourse(original);
    await original.query("SELECT setval('progress_version', 5000000000)");
    await course.beat({ userId: "ann" });
    await mirrorAll();
    await putCourses(empty);
    await restore();
    const last = "SELECT last_value AS version FROM progress_version";
    const [[before], [after]] = [await original.query(last), await empty.query(last)];
    expect(after?.version).toBeGreaterThan(before?.version + 900_000_000);
    const [sum] = await empty.query("SELECT version FROM course_progress");
    expect(sum?.version).toBeGreaterThan(before?.version);
    expect((await readAll(empty))[0]).toEqual((await readAll(original))[0]);
  });

  it("refuses a database that has progress; with --force takes only rows with a higher version", async () => {
    const course = await createMirroredCourse(original);
    await course.beat({ userId: "ann" }, { userId: "bob" }, { userId: "cid" });
    await mirrorAll();
    await putCourses(empty);
    await restore();
    await empty.query("DELETE FROM users WHERE id = 'cid'");
    await empty.query("UPDATE user_progress SET position_ms = 4 WHERE user_id = 'ann'");
    await course.beat({ userId: "bob", positionMs: 99_000, played: [[0, 500_000]] });
    await mirrorAll();
    await expect(restore()).rejects.toMatchObject({ code: "conflict" });
    expect(await restore({ force: true })).toMatchObject({ read: 3, restored: 2, kept: 1 });
    expect(await empty.query("SELECT user_id, position_ms FROM user_progress ORDER BY 1")).toMatchObject([
      { user_id: "ann", position_ms: 4 },
      { user_id: "bob", position_ms: 99_000 },
      { user_id: "cid" },
    ]);
    const { recounted, stored } = await recount(empty);
    expect(stored).toEqual(recounted);
  });

  it("skips files that the catalogue does not know, other people's documents, and rows that cannot be", async () => {
    const course = await createMirroredCourse(original);
    await course.beat({ userId: "ann" }, { userId: "bob" }, { userId: "bob", fileId: "other" });
    await mirrorAll();
    const [row] = await mirror.readUser("ann");
    if (row === undefined) throw new Error("There is no document");
    await mirror.commit([
      { userId: "ann", fileId: "gone", row: { ...row, fileId: "gone" } },
      { userId: "bob", fileId: "gone", row: { ...row, userId: "bob", fileId: "gone" } },
      { userId: "copied", fileId: "file", row },
      { userId: "bad", fileId: "file", row: { ...row, userId: "bad", positionMs: -1 } },
    ]);
    await putCourses(empty);
    const report = await restore();
    expect(report).toMatchObject({ read: 6, restored: 3, foreign: 1, refused: [{ userId: "bad", fileId: "file" }] });
    expect([...report.unknownFiles]).toEqual([["gone", 2]]);
    expect(await readAll(empty)).toEqual(await readAll(original));
    // Skipped rows stay in the mirror, which belongs to this database now.
    expect(await loadState(empty.pool)).toMatchObject({
      isSameDatabase: true,
      pass: "check",
      deleteUnknown: false,
      held: false,
    });
  });

  it("completes a row by today's duration of its file, where that has changed", async () => {
    const course = await createMirroredCourse(original);
    await course.beat(
      { userId: "ann", played: [[0, 300_000]] },
      { userId: "bob", fileId: "other", played: [[0, 300_000]] },
    );
    await mirrorAll();
    await putCourses(empty);
    await empty.query("UPDATE files SET duration_ms = 320000 WHERE id = 'file'");
    await restore();
    expect(
      await empty.query("SELECT user_id, completed, completion_source, duration_ms FROM user_progress ORDER BY 1"),
    ).toEqual([
      { user_id: "ann", completed: true, completion_source: "auto", duration_ms: 320_000 },
      { user_id: "bob", completed: false, completion_source: null, duration_ms: 600_000 },
    ]);
    const { recounted, stored } = await recount(empty);
    expect(stored).toEqual(recounted);
  });

  describe("a read of progress that the database lost", () => {
    it("finds the progress of one file, or all of a user", async () => {
      const course = await createMirroredCourse(original);
      await course.beat({ userId: "a/b" }, { userId: "a/b", fileId: "other" });
      await mirrorAll();
      const { readFromMirror } = createMirrorReader(mirror);
      const [row] = await original.query(
        `SELECT watched::text, version, (extract(epoch FROM last_watched) * 1000)::float8 AS "lastWatchedMs"
         FROM user_progress WHERE file_id = 'file'`,
      );
      const lastWatchedMs = Math.floor(row?.lastWatchedMs);
      expect(await readFromMirror("a/b", "file")).toEqual([expect.objectContaining({ ...row, lastWatchedMs })]);
      expect(await readFromMirror("a/b", "file")).toMatchObject([
        { userId: "a/b", fileId: "file", courseId: "course" },
      ]);
      expect((await readFromMirror("a/b")).map((row) => row.fileId)).toEqual(["file", "other"]);
      expect(await readFromMirror("a/b", "endless")).toEqual([]);
      expect(await readFromMirror("nobody")).toEqual([]);
    });

    it("fails with `unavailable` when Firestore does not answer in time", async () => {
      await firestore.goAway();
      const { readFromMirror } = createMirrorReader(mirror, { timeoutMs: 200 });
      await expect(readFromMirror("ann")).rejects.toMatchObject({ code: "unavailable" });
      await firestore.comeBack();
    });
  });
});
