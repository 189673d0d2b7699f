import { PassThrough, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { createTestDatabase } from "../../test/helpers/database.ts";
import { type MirrorSteps, PROJECT, pathOf, useMirrorSteps } from "../../test/helpers/mirror-steps.ts";
import { createMirroredCourse } from "../../test/helpers/mirrored-course.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { dumpDatabase } from "../db/dump/dump-database.ts";
import { restoreDatabase } from "../db/dump/restore-database.ts";
import { createLogger } from "../logger.ts";
import { readLag } from "./mirror-lag.ts";
import { adopt, loadState } from "./mirror-state.ts";
import { restoreFromMirror } from "./restore-from-mirror.ts";

describe("a mirror of another database", () => {
  let at: MirrorSteps;
  useMirrorSteps((steps) => {
    at = steps;
  });

  /** As after the restore of a dump: the mirror followed another database last. */
  const becomeAnother = () => at.database.query("UPDATE mirror SET system_identifier = 4711");

  it("is compared with the mirror, which gets missing and older rows and keeps newer ones", async () => {
    await at.course.beat({ userId: "same" }, { userId: "older" }, { userId: "missing" }, { userId: "newer" });
    await at.level();
    await at.follower.stop();
    const [row] = await at.mirror.readUser("newer");
    if (row === undefined) throw new Error("There is no document");
    await at.mirror.commit([
      { userId: "newer", fileId: "file", row: { ...row, version: row.version + 1000 } },
      { userId: "missing", fileId: "file", row: null },
      { userId: "lost", fileId: "file", row: { ...row, userId: "lost" } },
    ]);
    await becomeAnother();
    await at.database.query("ALTER TABLE user_progress DISABLE TRIGGER journal_update");
    await at.course.beat({ userId: "older" });
    await at.database.query("ALTER TABLE user_progress ENABLE TRIGGER journal_update");
    // Rows that came with a dump hold transaction ids of another cluster, far ahead of this one.
    await at.database.query(
      "INSERT INTO progress_journal (xid, changed_users, changed_files) VALUES ('99999999999', '{erased}', '{file}')",
    );
    await at.mirror.commit([{ userId: "erased", fileId: "file", row: { ...row, userId: "erased" } }]);
    const commits = at.firestore.commits.length;
    at.follower = at.createFollower();
    at.follower.start();
    await waitFor(async () => (await loadState(at.database.pool)).isSameDatabase, {
      what: "the database to be adopted",
    });
    await at.level();
    const { stored, mirrored } = await at.versions();
    expect(mirrored).toEqual({ ...stored, [pathOf("newer")]: row.version + 1000, [pathOf("lost")]: row.version });
    expect(at.firestore.commits.slice(commits).flat().sort()).toEqual(
      ["erased", "missing", "older"].map((id) => pathOf(id)).sort(),
    );
  });

  it("restored from an older dump can get the later progress back from the mirror", async () => {
    await at.course.beat({ userId: "ann" }, { userId: "bob" });
    await at.level();
    const output = new PassThrough();
    const [dump] = await Promise.all([
      buffer(output),
      dumpDatabase({ directUrl: at.database.url }, { output, tools: null }),
    ]);
    await at.course.beat({ userId: "ann", positionMs: 300_000 }, { userId: "cid" });
    await at.level();
    const { stored: before } = await at.versions();
    await at.follower.stop();
    await restoreDatabase({
      directUrl: at.database.url,
      input: Readable.from([dump]),
      force: true,
      findTools: () => Promise.reject(new Error("no tools are needed here")),
      logger: createLogger({ level: "silent" }),
    });
    expect(Object.keys((await at.versions()).stored)).toHaveLength(2);
    at.follower = at.createFollower();
    at.follower.start();
    await waitFor(async () => (await loadState(at.database.pool)).isSameDatabase, {
      what: "the database to be adopted",
    });
    await at.level();
    expect((await at.versions()).mirrored).toEqual(before);
    expect(await restoreFromMirror({ pool: at.database.pool, mirror: at.mirror }, { force: true })).toMatchObject({
      read: 3,
      restored: 2,
      kept: 1,
    });
    await at.level();
    expect(await at.expectEqual()).toEqual(before);
  });

  it("that was never mirrored leaves the progress of another one in the mirror alone, until an operator decides", async () => {
    await at.course.beat({ userId: "ann" });
    await at.level();
    await at.follower.stop();
    const other = await createTestDatabase({ server: at.postgres.url });
    const before = at.database;
    try {
      at.database = other;
      at.course = await createMirroredCourse(other);
      at.follower = at.createFollower();
      at.follower.start();
      await waitFor(async () => (await loadState(other.pool)).held, { what: "the mirror to be held" });
      const commits = at.firestore.commits.length;
      await at.course.beat({ userId: "bob" });
      expect((await readLag(other.pool)).rows).toBe(1);
      expect(at.firestore.commits.length).toBe(commits);
      await adopt(other.pool, { project: PROJECT, pass: "write", deleteUnknown: true });
      await at.level();
      expect(Object.keys(await at.expectEqual())).toEqual([pathOf("bob")]);
      await at.follower.stop();
    } finally {
      at.database = before;
      await other.drop();
    }
  });
});
