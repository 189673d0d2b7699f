import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { startTestFirestore, type TestFirestore } from "../../test/helpers/firestore.ts";
import { createMirroredCourse, putCourses } from "../../test/helpers/mirrored-course.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { openFirestore } from "./firestore.ts";
import { FirestoreMirror } from "./firestore-mirror.ts";
import { readRowsAfter } from "./journal.ts";
import { MirrorFollower } from "./mirror-follower.ts";
import { mirrorDeletions } from "./mirrored-deletions.ts";
import { restoreFromMirror } from "./restore-from-mirror.ts";
import { writeChanges } from "./write-changes.ts";

describe("deletions of users in the mirror", () => {
  let firestore: TestFirestore;
  let original: TestDatabase;
  let other: TestDatabase;
  let mirror: FirestoreMirror;
  let course: Awaited<ReturnType<typeof createMirroredCourse>>;
  let tests = 0;

  beforeAll(async () => {
    firestore = await startTestFirestore();
  });
  afterAll(() => firestore.stop());
  beforeEach(async () => {
    tests += 1;
    mirror = new FirestoreMirror(await openFirestore({ projectId: `deletions-${tests}` }));
    [original, other] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    course = await createMirroredCourse(original);
    await putCourses(other);
  });
  afterEach(async () => {
    await mirror.close();
    await original.drop();
    await other.drop();
  });

  async function mirrorRows(): Promise<void> {
    const rows = await readRowsAfter(original.pool, { userId: "", fileId: "" }, 1000);
    const signal = new AbortController().signal;
    const parts = { mirror, metrics: createMetrics(), logger: createLogger({ level: "silent" }), signal };
    await writeChanges(
      parts,
      rows.map((row) => ({ userId: row.userId, fileId: row.fileId, row })),
    );
  }
  const restore = (force: boolean) => restoreFromMirror({ pool: other.pool, mirror }, { force });
  const usersOf = async (database: TestDatabase) =>
    (await database.query<{ id: string }>("SELECT id FROM users ORDER BY id")).map(({ id }) => id);
  const mayBegin = (database: TestDatabase, userId: string) =>
    database.query("INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING", [userId]);

  it("keep a restore from bringing back rows that the mirror had not deleted yet, and delete them there", async () => {
    await course.beat({ userId: "ann" }, { userId: "bob" });
    await mirrorRows();
    await original.query("SELECT delete_user('ann')");
    await mirrorDeletions({ pool: original.pool, mirror });
    expect(await restore(false)).toMatchObject({ read: 2, restored: 1, deleted: 1, refused: [] });
    expect(await usersOf(other)).toEqual(["bob"]);
    expect(Object.keys(firestore.documents(`deletions-${tests}`)).filter((path) => path.includes("ann"))).toEqual([]);
    await expect(mayBegin(other, "ann")).rejects.toMatchObject({ code: "PH003" });
    await mayBegin(other, "cid");
  });

  it("delete a user again whom a database has from before, and keep what the user did after coming back", async () => {
    await course.beat({ userId: "ann" }, { userId: "bob" });
    await mirrorRows();
    await restore(false); // as from a dump that was made now
    for (const userId of ["ann", "bob"]) {
      await original.query("SELECT delete_user($1)", [userId]);
    }
    expect(await original.query("SELECT readmit_user('bob', clock_timestamp())")).toEqual([{ readmit_user: true }]);
    await course.beat({ userId: "bob", epoch: 1, positionMs: 7000 });
    await mirrorRows();
    await mirrorDeletions({ pool: original.pool, mirror });
    expect(await restore(true)).toMatchObject({ usersDeletedAgain: 2, restored: 1, refused: [] });
    expect(await usersOf(other)).toEqual(["bob"]);
    const rows = "SELECT user_id, position_ms, epoch FROM user_progress ORDER BY 1";
    expect(await other.query(rows)).toEqual([{ user_id: "bob", position_ms: 7000, epoch: 1 }]);
    expect(await other.query("SELECT deleted_at FROM deleted_users ORDER BY 1")).toEqual(
      await original.query("SELECT deleted_at FROM deleted_users ORDER BY 1"),
    );
  });

  it("are brought to a database that was restored or took over, and that has lost them", async () => {
    await course.beat({ userId: "ann" }, { userId: "bob" });
    await mirrorRows();
    await restore(false); // as from a dump that was made now
    await original.query("SELECT delete_user('ann')");
    await mirrorDeletions({ pool: original.pool, mirror });
    await other.query("UPDATE mirror SET enabled = true, timeline = 'of another database'");
    const logger = createLogger({ level: "silent" });
    const parts = { pool: other.pool, mirror, metrics: createMetrics(), logger };
    const follower = new MirrorFollower(parts, { intervalMs: 50, takeoverMs: 0 });
    follower.start();
    try {
      await waitFor(async () => (await usersOf(other)).join() === "bob", { what: "the user to be deleted again" });
      await waitFor(
        () => !Object.keys(firestore.documents(`deletions-${tests}`)).some((path) => path.includes("ann")),
        { what: "the documents to be deleted" },
      );
    } finally {
      await follower.stop();
    }
    await expect(mayBegin(other, "ann")).rejects.toMatchObject({ code: "PH003" });
  });

  it("hold beside those of a database that has deleted users of its own", async () => {
    await original.query("SELECT delete_user('ann')");
    await other.query("SELECT delete_user('bob')");
    await mirrorDeletions({ pool: original.pool, mirror });
    await restore(false);
    await restore(false);
    for (const userId of ["ann", "bob"]) await expect(mayBegin(other, userId)).rejects.toMatchObject({ code: "PH003" });
    await other.query("SELECT delete_user('ann')");
    expect(await other.query("SELECT FROM deleted_users")).toHaveLength(2);
  });

  it("are written again when a user comes back, and when they are mirrored elsewhere", async () => {
    await original.query("SELECT delete_user('ann')");
    await mirrorDeletions({ pool: original.pool, mirror });
    await original.query("SELECT readmit_user('ann', clock_timestamp())");
    await mirrorDeletions({ pool: original.pool, mirror });
    const [deletion] = await mirror.readDeletions();
    expect(deletion?.returnedAt).not.toBeNull();
    expect(await original.query("SELECT FROM deleted_users WHERE NOT mirrored")).toEqual([]);
    await restoreFromMirror({ pool: original.pool, mirror }, { force: false });
    expect(await original.query("SELECT FROM deleted_users WHERE NOT mirrored")).toHaveLength(1);
  });
});
