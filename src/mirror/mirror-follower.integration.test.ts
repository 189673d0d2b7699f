import { PassThrough, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { startTestFirestore, type TestFirestore } from "../../test/helpers/firestore.ts";
import { createMirroredCourse, STRANGE_IDS } from "../../test/helpers/mirrored-course.ts";
import type { TestPostgres } from "../../test/helpers/postgres.ts";
import { startTestPostgres } from "../../test/helpers/postgres.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { dumpDatabase } from "../db/dump/dump-database.ts";
import { restoreDatabase } from "../db/dump/restore-database.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { toDocumentId } from "./document-id.ts";
import { openFirestore } from "./firestore.ts";
import { FirestoreMirror } from "./firestore-mirror.ts";
import { readHorizon } from "./journal.ts";
import { MirrorFollower } from "./mirror-follower.ts";
import { collectMirrorMetrics, readLag } from "./mirror-lag.ts";
import { adopt, loadState, switchOff } from "./mirror-state.ts";
import { restoreFromMirror } from "./restore-from-mirror.ts";

const PROJECT = "mirror-test";
const pathOf = (userId: string, fileId = "file") => `users/${toDocumentId(userId)}/progress/${toDocumentId(fileId)}`;

describe("the mirror", () => {
  /** A PostgreSQL of this test alone: a transaction of another test would hold the follower back. */
  let postgres: TestPostgres;
  let database: TestDatabase;
  let firestore: TestFirestore;
  let course: Awaited<ReturnType<typeof createMirroredCourse>>;
  let mirror: FirestoreMirror;
  let metrics: ReturnType<typeof createMetrics>;
  let follower: MirrorFollower;

  beforeAll(async () => {
    postgres = await startTestPostgres();
    firestore = await startTestFirestore();
  });
  afterAll(async () => {
    await firestore.stop();
    await postgres.stop();
  });
  beforeEach(async () => {
    database = await createTestDatabase({ server: postgres.url });
    course = await createMirroredCourse(database);
    mirror = new FirestoreMirror(await openFirestore({ projectId: PROJECT, deadlineMs: 5000 }));
    for await (const { rows } of mirror.pages()) await mirror.commit(rows.map((row) => ({ ...row, row: null })));
    metrics = createMetrics();
    follower = createFollower();
    follower.start();
    await level();
  });
  afterEach(async () => {
    await follower.stop();
    await mirror.close();
    await database.drop();
  });

  function createFollower(): MirrorFollower {
    const logger = createLogger({ level: process.env.TEST_LOG ?? "silent" });
    return new MirrorFollower(
      { pool: database.pool, mirror, metrics, logger },
      { intervalMs: 20, takeoverMs: 0, firstBackoffMs: 50 },
    );
  }

  /** @throws Error with the state of the mirror where it is not level */
  async function assertLevel(): Promise<true> {
    const state = await loadState(database.pool);
    const lag = await readLag(database.pool);
    if (state.enabled && state.pass === null && lag.rows === 0) return true;
    const holding = await database.query(
      "SELECT pid, backend_type, application_name, state, wait_event, backend_xid::text, xact_start, left(query, 80) AS query FROM pg_stat_activity WHERE backend_xid IS NOT NULL OR (backend_xmin IS NOT NULL AND pid <> pg_backend_pid())",
    );
    throw new Error(JSON.stringify({ ...state, ...lag, horizon: await readHorizon(database.pool), holding }));
  }

  const level = () => waitFor(assertLevel, { what: "the mirror to be level", timeoutMs: 30_000 });

  /** The versions of all rows by the paths of their documents, in the database and in Firestore. */
  async function versions() {
    const rows = await database.query<{ user_id: string; file_id: string; version: number }>(
      "SELECT user_id, file_id, version FROM user_progress",
    );
    return {
      stored: Object.fromEntries(rows.map((row) => [pathOf(row.user_id, row.file_id), row.version])),
      mirrored: Object.fromEntries(
        Object.entries(firestore.documents(PROJECT)).map(([path, fields]) => [path, fields.version]),
      ),
    };
  }

  async function expectEqual(): Promise<Record<string, number>> {
    const { stored, mirrored } = await versions();
    expect(mirrored).toEqual(stored);
    return stored;
  }

  it("follows rows that are begun, moved on, reset, completed, renamed or deleted", async () => {
    await course.beat({ userId: "ann" }, { userId: "ann", fileId: "other" }, { userId: "bob" }, { userId: "cid" });
    await level();
    expect(Object.keys(await expectEqual())).toHaveLength(4);
    await course.beat({ userId: "ann", positionMs: 77_000 });
    await course.operations.reset("bob", { fileId: "file" }, "bob");
    await course.operations.complete("cid", { courseId: "course" }, { source: "manual", by: "admin" });
    await level();
    await expectEqual();
    const documents = firestore.documents(PROJECT);
    expect(documents[pathOf("ann")]).toMatchObject({ positionMs: 77_000, userId: "ann", lessonId: "lesson" });
    expect(documents[pathOf("bob")]).toMatchObject({ positionMs: 0, epoch: 1, completed: false });
    expect(documents[pathOf("cid", "other")]).toMatchObject({ completed: true, completionSource: "manual" });
    await database.query("DELETE FROM users WHERE id = 'ann'");
    await database.query("DELETE FROM user_progress WHERE user_id = 'cid' AND file_id = 'file'");
    await level();
    expect(Object.keys(await expectEqual()).every((path) => !path.startsWith("users/ann/"))).toBe(true);
    await database.query("UPDATE files SET id = 'renamed' WHERE id = 'file'");
    await level();
    expect(await expectEqual()).toHaveProperty([pathOf("bob", "renamed")]);
    await database.query("DELETE FROM courses");
    await level();
    expect(await expectEqual()).toEqual({});
  });

  it("gives every id a document of its own, whatever characters it holds", async () => {
    await database.query("INSERT INTO users (id) SELECT unnest($1::text[])", [STRANGE_IDS]);
    await database.query(
      "INSERT INTO user_progress (user_id, file_id) SELECT u, f FROM unnest($1::text[]) u, unnest($1::text[]) f",
      [STRANGE_IDS],
    );
    await level();
    expect(Object.keys(await expectEqual())).toHaveLength(STRANGE_IDS.length ** 2);
    for (const userId of STRANGE_IDS) {
      expect((await mirror.readUser(userId)).map((row) => row.fileId).sort()).toEqual([...STRANGE_IDS].sort());
    }
  });

  it("writes a row that changes often once a round, from one journal row for each statement", async () => {
    await follower.stop();
    for (let i = 0; i < 30; i++) await course.beat(...["ann", "bob", "cid"].map((userId) => ({ userId })));
    // An upsert fires the triggers of INSERT and of UPDATE. The one that had no rows writes nothing to the journal.
    expect((await readLag(database.pool)).rows).toBe(30);
    const commits = firestore.commits.length;
    // Transactions of any database of the cluster hold the follower back.
    const held = "SELECT FROM progress_journal WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())";
    await waitFor(async () => (await database.query(held)).length === 0, { what: "others' transactions to end" });
    follower = createFollower();
    follower.start();
    await level();
    await expectEqual();
    expect(firestore.commits.length - commits).toBe(1);
    expect(firestore.commits.at(-1)).toHaveLength(3);
  });

  it("misses no transaction, whatever the order of commits", async () => {
    await database.query("INSERT INTO users (id) VALUES ('early'), ('late'), ('never')");
    const early = new pg.Client({ connectionString: database.url });
    const never = new pg.Client({ connectionString: database.url });
    await Promise.all([early.connect(), never.connect()]);
    const insert = "INSERT INTO user_progress (user_id, file_id) VALUES ($1, 'file')";
    try {
      await early.query("BEGIN");
      await early.query(insert, ["early"]);
      await never.query("BEGIN");
      await never.query(insert, ["never"]);
      await database.query(insert, ["late"]);
      const before = (await loadState(database.pool)).cursor;
      await course.beat({ userId: "meanwhile" });
      await never.query("ROLLBACK");
      let nowMs = 0;
      collectMirrorMetrics(metrics, database.pool, () => nowMs);
      await metrics.registry.metrics();
      nowMs = 90_000;
      const figures = await metrics.registry.metrics();
      expect(Number(figures.match(/^playhead_db_oldest_xmin_seconds (\S+)/m)?.[1])).toBe(90);
      expect(Number(figures.match(/^playhead_mirror_journal_rows (\S+)/m)?.[1])).toBe(2);
      expect((await loadState(database.pool)).cursor).toBe(before);
      await early.query("COMMIT");
    } finally {
      await Promise.all([early.end(), never.end()]);
    }
    await level();
    expect(Object.keys(await expectEqual()).sort()).toEqual(
      ["early", "late", "meanwhile"].map((id) => pathOf(id)).sort(),
    );
  });

  it("writes the states of a row in their order, however often the follower stops and starts", async () => {
    const users = Array.from({ length: 20 }, (_, i) => ({ userId: `user-${i}` }));
    for (let i = 0; i < 40; i++) {
      await course.beat(...users);
      if (i % 4 !== 0) continue;
      await follower.stop();
      follower = createFollower();
      follower.start();
    }
    await level();
    for (const path of Object.keys(await expectEqual())) {
      const seen = firestore.versionsSeen(path).map(Number);
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
    }
  });

  it("equals the database in the end, whatever commits, rolls back or stops in between", async () => {
    const ids = Array.from({ length: 12 }, (_, i) => `user-${i}`);
    await database.query("INSERT INTO users (id) SELECT unnest($1::text[])", [ids]);
    const write = `INSERT INTO user_progress (user_id, file_id) SELECT u, 'other' FROM unnest($1::text[]) u ORDER BY u
      ON CONFLICT (user_id, file_id) DO UPDATE SET position_ms = user_progress.position_ms + 1`;
    const remove = "DELETE FROM user_progress WHERE user_id = ANY($1::text[]) AND file_id = 'other'";
    const writers = Array.from({ length: 6 }, async (_, writer) => {
      // Each writer has users of its own, so no writer waits for another.
      const own = ids.slice(writer * 2, writer * 2 + 2);
      for (let i = 0; i < 25; i++) {
        const client = await database.pool.connect();
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
        await follower.stop();
        if (i === 3) await firestore.goAway();
        follower = createFollower();
        follower.start();
        await database.query("SELECT pg_sleep(0.05)");
        if (i === 5) await firestore.comeBack();
      }
    })();
    await Promise.all([...writers, restarts]);
    await level();
    await expectEqual();
  });

  it("writes keys again that it had written, but not deleted from the journal, when it stopped", async () => {
    await follower.stop();
    await course.beat({ userId: "ann" }, { userId: "bob" });
    // It fails after the answer of Firestore: the database refuses to delete from the journal.
    await database.query(
      `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;
       CREATE TRIGGER refuse BEFORE DELETE ON progress_journal FOR EACH STATEMENT EXECUTE FUNCTION refuse()`,
    );
    const before = firestore.versionsSeen(pathOf("ann")).length;
    follower = createFollower();
    follower.start();
    await waitFor(() => firestore.versionsSeen(pathOf("ann")).length > before, { what: "a first write" });
    await follower.stop();
    expect((await readLag(database.pool)).rows).toBe(1);
    await database.query("DROP TRIGGER refuse ON progress_journal");
    await course.beat({ userId: "ann" });
    follower = createFollower();
    follower.start();
    await level();
    await expectEqual();
  });

  it("lets heartbeats go on while Firestore is away, and catches up afterwards", async () => {
    await course.beat({ userId: "ann" });
    await level();
    await firestore.goAway();
    await course.beat({ userId: "ann" }, { userId: "bob" });
    await waitFor(async () => (await metrics.mirrorFailures.get()).values.length > 0, {
      what: "a failure to be counted",
    });
    const { seconds } = await readLag(database.pool);
    expect(seconds).toBeGreaterThan(0);
    await course.beat({ userId: "cid" });
    await waitFor(async () => (await readLag(database.pool)).seconds > seconds + 1, { what: "the lag to grow" });
    await firestore.comeBack();
    await level();
    expect(Object.keys(await expectEqual())).toHaveLength(3);
    expect((await readLag(database.pool)).seconds).toBe(0);
  });

  describe("another database", () => {
    /** As after the restore of a dump: the mirror followed another database last. */
    const becomeAnother = () => database.query("UPDATE mirror SET system_identifier = 4711");

    it("is compared with the mirror, which gets missing and older rows and keeps newer ones", async () => {
      await course.beat({ userId: "same" }, { userId: "older" }, { userId: "missing" }, { userId: "newer" });
      await level();
      await follower.stop();
      const [row] = await mirror.readUser("newer");
      if (row === undefined) throw new Error("There is no document");
      await mirror.commit([
        { userId: "newer", fileId: "file", row: { ...row, version: row.version + 1000 } },
        { userId: "missing", fileId: "file", row: null },
        { userId: "lost", fileId: "file", row: { ...row, userId: "lost" } },
      ]);
      await becomeAnother();
      await database.query("ALTER TABLE user_progress DISABLE TRIGGER journal_update");
      await course.beat({ userId: "older" });
      await database.query("ALTER TABLE user_progress ENABLE TRIGGER journal_update");
      // Rows that came with a dump hold transaction ids of another cluster, far ahead of this one.
      await database.query(
        "INSERT INTO progress_journal (xid, changed_users, changed_files) VALUES ('99999999999', '{erased}', '{file}')",
      );
      await mirror.commit([{ userId: "erased", fileId: "file", row: { ...row, userId: "erased" } }]);
      const commits = firestore.commits.length;
      follower = createFollower();
      follower.start();
      await waitFor(async () => (await loadState(database.pool)).isSameDatabase, {
        what: "the database to be adopted",
      });
      await level();
      const { stored, mirrored } = await versions();
      expect(mirrored).toEqual({ ...stored, [pathOf("newer")]: row.version + 1000, [pathOf("lost")]: row.version });
      expect(firestore.commits.slice(commits).flat().sort()).toEqual(
        ["erased", "missing", "older"].map((id) => pathOf(id)).sort(),
      );
    });

    it("restored from an older dump can get the later progress back from the mirror", async () => {
      await course.beat({ userId: "ann" }, { userId: "bob" });
      await level();
      const output = new PassThrough();
      const [dump] = await Promise.all([
        buffer(output),
        dumpDatabase({ directUrl: database.url }, { output, tools: null }),
      ]);
      await course.beat({ userId: "ann", positionMs: 300_000 }, { userId: "cid" });
      await level();
      const { stored: before } = await versions();
      await follower.stop();
      await restoreDatabase({
        directUrl: database.url,
        input: Readable.from([dump]),
        force: true,
        findTools: () => Promise.reject(new Error("no tools are needed here")),
        logger: createLogger({ level: "silent" }),
      });
      expect(Object.keys((await versions()).stored)).toHaveLength(2);
      follower = createFollower();
      follower.start();
      await waitFor(async () => (await loadState(database.pool)).isSameDatabase, {
        what: "the database to be adopted",
      });
      await level();
      expect((await versions()).mirrored).toEqual(before);
      expect(await restoreFromMirror({ pool: database.pool, mirror }, { force: true })).toMatchObject({
        read: 3,
        restored: 2,
        kept: 1,
      });
      await level();
      expect(await expectEqual()).toEqual(before);
    });

    it("that was never mirrored leaves the progress of another one in the mirror alone, until an operator decides", async () => {
      await course.beat({ userId: "ann" });
      await level();
      await follower.stop();
      const other = await createTestDatabase({ server: postgres.url });
      const before = database;
      try {
        database = other;
        course = await createMirroredCourse(other);
        follower = createFollower();
        follower.start();
        await waitFor(async () => (await loadState(other.pool)).held, { what: "the mirror to be held" });
        const commits = firestore.commits.length;
        await course.beat({ userId: "bob" });
        expect((await readLag(other.pool)).rows).toBe(1);
        expect(firestore.commits.length).toBe(commits);
        await adopt(other.pool, { project: PROJECT, pass: "write", deleteUnknown: true });
        await level();
        expect(Object.keys(await expectEqual())).toEqual([pathOf("bob")]);
        await follower.stop();
      } finally {
        database = before;
        await other.drop();
      }
    });
  });

  it("writes no journal while it is off, and finds all changes when it is on again", async () => {
    await course.beat({ userId: "ann" }, { userId: "bob" });
    await level();
    await follower.stop();
    await switchOff(database.pool);
    await course.beat({ userId: "ann" }, { userId: "cid" });
    await database.query("DELETE FROM users WHERE id = 'bob'");
    expect((await readLag(database.pool)).rows).toBe(0);
    follower = createFollower();
    follower.start();
    await level();
    expect(Object.keys(await expectEqual()).sort()).toEqual([pathOf("ann"), pathOf("cid")]);
  });

  it("mirrors rows of a transaction that began before it was switched on", async () => {
    await follower.stop();
    await switchOff(database.pool);
    await database.query("INSERT INTO users (id) VALUES ('early')");
    const early = new pg.Client({ connectionString: database.url });
    await early.connect();
    try {
      await early.query("BEGIN");
      await early.query("INSERT INTO user_progress (user_id, file_id) VALUES ('early', 'file')");
      follower = createFollower();
      follower.start();
      await waitFor(async () => (await loadState(database.pool)).enabled, { what: "the mirror to be on" });
      await course.beat({ userId: "ann" });
      await early.query("COMMIT");
    } finally {
      await early.end();
    }
    await level();
    expect(Object.keys(await expectEqual())).toHaveLength(2);
  });

  it("mirrors more rows than fit into one page, and more keys than fit into one commit", async () => {
    await database.query("INSERT INTO users (id) SELECT 'user-' || i FROM generate_series(1, 1200) i");
    await database.query("INSERT INTO user_progress (user_id, file_id) SELECT id, 'file' FROM users");
    await level();
    expect(Object.keys(await expectEqual())).toHaveLength(1200);
    expect(Math.max(...firestore.commits.map((paths) => paths.length))).toBe(500);
    const before = firestore.commits.flat().length;
    await adopt(database.pool, { project: PROJECT, pass: "write", deleteUnknown: true });
    await level();
    expect(firestore.commits.flat().length - before).toBe(1200);
    await expectEqual();
  });
});
