import pg from "pg";
import { describe, expect, it } from "vitest";
import { type MirrorSteps, PROJECT, pathOf, useMirrorSteps } from "../../test/helpers/mirror-steps.ts";
import { STRANGE_IDS } from "../../test/helpers/mirrored-course.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { collectMirrorMetrics, readLag } from "./mirror-lag.ts";
import { adopt, loadState, switchOff } from "./mirror-state.ts";

describe("the mirror", () => {
  let at: MirrorSteps;
  useMirrorSteps((steps) => {
    at = steps;
  });

  it("follows rows that are begun, moved on, reset, completed, renamed or deleted", async () => {
    await at.course.beat({ userId: "ann" }, { userId: "ann", fileId: "other" }, { userId: "bob" }, { userId: "cid" });
    await at.level();
    expect(Object.keys(await at.expectEqual())).toHaveLength(4);
    await at.course.beat({ userId: "ann", positionMs: 77_000 });
    await at.course.operations.reset("bob", { fileId: "file" }, "bob");
    await at.course.operations.complete("cid", { courseId: "course" }, { source: "manual", by: "admin" });
    await at.level();
    await at.expectEqual();
    const documents = at.firestore.documents(PROJECT);
    expect(documents[pathOf("ann")]).toMatchObject({ positionMs: 77_000, userId: "ann", lessonId: "lesson" });
    expect(documents[pathOf("bob")]).toMatchObject({ positionMs: 0, epoch: 1, completed: false });
    expect(documents[pathOf("cid", "other")]).toMatchObject({ completed: true, completionSource: "manual" });
    await at.database.query("DELETE FROM users WHERE id = 'ann'");
    await at.database.query("DELETE FROM user_progress WHERE user_id = 'cid' AND file_id = 'file'");
    await at.level();
    expect(Object.keys(await at.expectEqual()).every((path) => !path.startsWith("users/ann/"))).toBe(true);
    await at.database.query("UPDATE files SET id = 'renamed' WHERE id = 'file'");
    await at.level();
    expect(await at.expectEqual()).toHaveProperty([pathOf("bob", "renamed")]);
    await at.database.query("DELETE FROM courses");
    await at.level();
    expect(await at.expectEqual()).toEqual({});
  });

  it("gives every id a document of its own, whatever characters it holds", async () => {
    await at.database.query("INSERT INTO users (id) SELECT unnest($1::text[])", [STRANGE_IDS]);
    await at.database.query(
      "INSERT INTO user_progress (user_id, file_id) SELECT u, f FROM unnest($1::text[]) u, unnest($1::text[]) f",
      [STRANGE_IDS],
    );
    await at.level();
    expect(Object.keys(await at.expectEqual())).toHaveLength(STRANGE_IDS.length ** 2);
    for (const userId of STRANGE_IDS) {
      expect((await at.mirror.readUser(userId)).map((row) => row.fileId).sort()).toEqual([...STRANGE_IDS].sort());
    }
  });

  it("writes a row that changes often once a round, from one journal row for each statement", async () => {
    await at.follower.stop();
    for (let i = 0; i < 30; i++) await at.course.beat(...["ann", "bob", "cid"].map((userId) => ({ userId })));
    // An upsert fires the triggers of INSERT and of UPDATE. The one that had no rows writes nothing to the journal.
    expect((await readLag(at.database.pool)).rows).toBe(30);
    const commits = at.firestore.commits.length;
    // Transactions of any database of the cluster hold the follower back.
    const held = "SELECT FROM progress_journal WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())";
    await waitFor(async () => (await at.database.query(held)).length === 0, { what: "others' transactions to end" });
    at.follower = at.createFollower();
    at.follower.start();
    await at.level();
    await at.expectEqual();
    expect(at.firestore.commits.length - commits).toBe(1);
    expect(at.firestore.commits.at(-1)).toHaveLength(3);
  });

  it("misses no transaction, whatever the order of commits", async () => {
    await at.database.query("INSERT INTO users (id) VALUES ('early'), ('late'), ('never')");
    const early = new pg.Client({ connectionString: at.database.url });
    const never = new pg.Client({ connectionString: at.database.url });
    await Promise.all([early.connect(), never.connect()]);
    const insert = "INSERT INTO user_progress (user_id, file_id) VALUES ($1, 'file')";
    try {
      await early.query("BEGIN");
      await early.query(insert, ["early"]);
      await never.query("BEGIN");
      await never.query(insert, ["never"]);
      await at.database.query(insert, ["late"]);
      const before = (await loadState(at.database.pool)).cursor;
      await at.course.beat({ userId: "meanwhile" });
      await never.query("ROLLBACK");
      let nowMs = 0;
      collectMirrorMetrics(at.metrics, at.database.pool, () => nowMs);
      await at.metrics.registry.metrics();
      nowMs = 90_000;
      const figures = await at.metrics.registry.metrics();
      expect(Number(figures.match(/^playhead_db_oldest_xmin_seconds (\S+)/m)?.[1])).toBe(90);
      expect(Number(figures.match(/^playhead_mirror_journal_rows (\S+)/m)?.[1])).toBe(2);
      expect((await loadState(at.database.pool)).cursor).toBe(before);
      await early.query("COMMIT");
    } finally {
      await Promise.all([early.end(), never.end()]);
    }
    await at.level();
    expect(Object.keys(await at.expectEqual()).sort()).toEqual(
      ["early", "late", "meanwhile"].map((id) => pathOf(id)).sort(),
    );
  });

  it("writes the states of a row in their order, however often the follower stops and starts", async () => {
    const users = Array.from({ length: 20 }, (_, i) => ({ userId: `user-${i}` }));
    for (let i = 0; i < 40; i++) {
      await at.course.beat(...users);
      if (i % 4 !== 0) continue;
      await at.follower.stop();
      at.follower = at.createFollower();
      at.follower.start();
    }
    await at.level();
    for (const path of Object.keys(await at.expectEqual())) {
      const seen = at.firestore.versionsSeen(path).map(Number);
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
    }
  });

  it("equals the database in the end, whatever commits, rolls back or stops in between", async () => {
    const ids = Array.from({ length: 12 }, (_, i) => `user-${i}`);
    await at.database.query("INSERT INTO users (id) SELECT unnest($1::text[])", [ids]);
    const write = `INSERT INTO user_progress (user_id, file_id) SELECT u, 'other' FROM unnest($1::text[]) u ORDER BY u
      ON CONFLICT (user_id, file_id) DO UPDATE SET position_ms = user_progress.position_ms + 1`;
    const remove = "DELETE FROM user_progress WHERE user_id = ANY($1::text[]) AND file_id = 'other'";
    const writers = Array.from({ length: 6 }, async (_, writer) => {
      // Each writer has users of its own, so no writer waits for another.
      const own = ids.slice(writer * 2, writer * 2 + 2);
      for (let i = 0; i < 25; i++) {
        const client = await at.database.pool.connect();
        try {
          await client.query("BEGIN");
          await client.query(i % 7 === 6 ? remove : write, [own]);
          await client.query("SELECT pg_sleep($1)", [((i * 7 + writer * 3) % 10) / 500]);
          await client.query(i % 5 === 4 ? "ROLLBACK" : "COMMIT");
        } finally {
          client.release();
        }
      }
    });
    const restarts = (async () => {
      for (let i = 0; i < 10; i++) {
        await at.follower.stop();
        if (i === 3) await at.firestore.goAway();
        at.follower = at.createFollower();
        at.follower.start();
        await at.database.query("SELECT pg_sleep(0.05)");
        if (i === 5) await at.firestore.comeBack();
      }
    })();
    await Promise.all([...writers, restarts]);
    await at.level();
    await at.expectEqual();
  });

  it("writes keys again that it had written, but not deleted from the journal, when it stopped", async () => {
    await at.follower.stop();
    await at.course.beat({ userId: "ann" }, { userId: "bob" });
    // It fails after the answer of Firestore: the database refuses to delete from the journal.
    await at.database.query(
      `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
       CREATE TRIGGER refuse BEFORE DELETE ON progress_journal FOR EACH STATEMENT EXECUTE FUNCTION refuse()`,
    );
    const before = at.firestore.versionsSeen(pathOf("ann")).length;
    at.follower = at.createFollower();
    at.follower.start();
    await waitFor(() => at.firestore.versionsSeen(pathOf("ann")).length > before, { what: "a first write" });
    await at.follower.stop();
    expect((await readLag(at.database.pool)).rows).toBe(1);
    await at.database.query("DROP TRIGGER refuse ON progress_journal");
    await at.course.beat({ userId: "ann" });
    at.follower = at.createFollower();
    at.follower.start();
    await at.level();
    await at.expectEqual();
  });

  it("lets heartbeats go on while Firestore is away, and catches up afterwards", async () => {
    await at.course.beat({ userId: "ann" });
    await at.level();
    await at.firestore.goAway();
    await at.course.beat({ userId: "ann" }, { userId: "bob" });
    await waitFor(async () => (await at.metrics.mirrorFailures.get()).values.length > 0, {
      what: "a failure to be counted",
    });
    const { seconds } = await readLag(at.database.pool);
    expect(seconds).toBeGreaterThan(0);
    await at.course.beat({ userId: "cid" });
    await waitFor(async () => (await readLag(at.database.pool)).seconds > seconds + 1, { what: "the lag to grow" });
    await at.firestore.comeBack();
    await at.level();
    expect(Object.keys(await at.expectEqual())).toHaveLength(3);
    expect((await readLag(at.database.pool)).seconds).toBe(0);
  });

  it("writes no journal while it is off, and finds all changes when it is on again", async () => {
    await at.course.beat({ userId: "ann" }, { userId: "bob" });
    await at.level();
    await at.follower.stop();
    await switchOff(at.database.pool);
    await at.course.beat({ userId: "ann" }, { userId: "cid" });
    await at.database.query("DELETE FROM users WHERE id = 'bob'");
    expect((await readLag(at.database.pool)).rows).toBe(0);
    at.follower = at.createFollower();
    at.follower.start();
    await at.level();
    expect(Object.keys(await at.expectEqual()).sort()).toEqual([pathOf("ann"), pathOf("cid")]);
  });

  it("mirrors rows of a transaction that began before it was switched on", async () => {
    await at.follower.stop();
    await switchOff(at.database.pool);
    await at.database.query("INSERT INTO users (id) VALUES ('early')");
    const early = new pg.Client({ connectionString: at.database.url });
    await early.connect();
    try {
      await early.query("BEGIN");
      await early.query("INSERT INTO user_progress (user_id, file_id) VALUES ('early', 'file')");
      at.follower = at.createFollower();
      at.follower.start();
      await waitFor(async () => (await loadState(at.database.pool)).enabled, { what: "the mirror to be on" });
      await at.course.beat({ userId: "ann" });
      await early.query("COMMIT");
    } finally {
      await early.end();
    }
    await at.level();
    expect(Object.keys(await at.expectEqual())).toHaveLength(2);
  });

  it("mirrors more rows than fit into one page, and more keys than fit into one commit", async () => {
    await at.database.query("INSERT INTO users (id) SELECT 'user-' || i FROM generate_series(1, 1200) i");
    await at.database.query("INSERT INTO user_progress (user_id, file_id) SELECT id, 'file' FROM users");
    await at.level();
    expect(Object.keys(await at.expectEqual())).toHaveLength(1200);
    expect(Math.max(...at.firestore.commits.map((paths) => paths.length))).toBe(500);
    const before = at.firestore.commits.flat().length;
    await adopt(at.database.pool, { project: PROJECT, pass: "write", deleteUnknown: true });
    await at.level();
    expect(at.firestore.commits.flat().length - before).toBe(1200);
    await at.expectEqual();
  });
});
