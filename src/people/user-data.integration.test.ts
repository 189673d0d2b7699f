import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { recount } from "../../test/helpers/recount.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { DeletedUsers } from "../auth/deleted-users.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { UserExport } from "../protocol/user-export.ts";
import { createProfiles } from "./profiles.ts";
import { createUserData, type UserData } from "./user-data.ts";

const logger = pino({ level: "silent" });
let database: TestDatabase;
let deletedUsers: DeletedUsers;
let userData: UserData;
const ended: string[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  const { pool } = database;
  deletedUsers = await open();
  userData = createUserData({ pool, onDeleted: (...deletion) => deletedUsers.note(...deletion) });
});
afterAll(() => database.drop());
beforeEach(async () => {
  ended.length = 0;
  for (const userId of ["carol", "dave"])
    await database.query("SELECT delete_user($1), readmit_user($1, clock_timestamp() + interval '1 s')", [userId]);
  for (const courseId of ["c1", "c2", "c3"]) {
    await createCatalogueStore({ pool: database.pool }).put(courseId, {
      title: `Course ${courseId}`,
      instructorId: courseId === "c3" ? "ines" : "carol",
      lessons: [
        {
          id: `${courseId}-l`,
          title: "Lesson",
          files: [1, 2].map((n) => ({ id: `${courseId}-f${n}`, title: `File ${n}`, durationSeconds: 60 })),
        },
      ],
    });
  }
  await fill("carol");
  await deletedUsers.load();
});

/** Another process: it knows the deletions of before its start. */
async function open(): Promise<DeletedUsers> {
  const users = new DeletedUsers({
    pool: database.pool,
    onDeleted: (isDeleted) => ended.push(...["carol", "dave"].filter(isDeleted)),
    logger,
  });
  await users.load();
  return users;
}

/** A row of the user in every table that may have one. */
async function fill(userId: string): Promise<void> {
  const statements = [
    "INSERT INTO users (id, username, email, password, first_name, last_name) VALUES ($1, $1 || '-name', $1 || '@a.test', 'hash', 'Carol', 'Lee'), ('dave', NULL, NULL, NULL, NULL, NULL) ON CONFLICT (id) DO UPDATE SET username = excluded.username, email = excluded.email, password = excluded.password, first_name = excluded.first_name, last_name = excluded.last_name",
    "INSERT INTO user_profiles (user_id, name, name_source) VALUES ($1, 'Carol Lee', 'profile')",
    "INSERT INTO user_progress (user_id, file_id, watched, epoch) VALUES ($1, 'c1-f1', '{[0,30000),[40000,45500)}', 2), ($1, 'c2-f1', '{}', 0), ('dave', 'c1-f1', '{[0,60000)}', 0) ON CONFLICT DO NOTHING",
    "INSERT INTO reset_marks (user_id, course_id, epoch, reset_at) VALUES ($1, 'c2', 4, now())",
    "INSERT INTO user_activity_log (user_id, activity_type, course_id, actor_id) VALUES ($1, 'reset', 'c1', 'dave'), ($1, 'started', 'c1', NULL), ('dave', 'waived', 'c1', $1)",
    "INSERT INTO webhook_events (type, data) VALUES ('completed', jsonb_build_object('userId', $1::text, 'fileId', 'c1-f1')), ('completed', '{\"userId\": \"dave\"}')",
    "INSERT INTO xapi_sessions (user_id, file_id, player, begun_at) VALUES ($1, 'c1-f1', 'phone', now())",
    "INSERT INTO xapi_statements (user_id, course_id, lesson_id, file_id, verb, registration, \"timestamp\", title, duration_ms, threshold, position_ms, watched, watched_ms, watch_time_ms, reached) VALUES ($1, 'c1', 'c1-l', 'c1-f1', 'paused', gen_random_uuid(), now(), 'File 1', 60000, 0.9, 7000, '{[0,7000)}', 7000, 8000, false)",
    "INSERT INTO xapi_queue (seq, refused_at, error) SELECT seq, now(), 'no' FROM xapi_statements WHERE user_id = $1",
    "INSERT INTO streams (id, user_id, title, key_hash, key_prefix) VALUES ($1 || '-s', $1, 'Live', sha256('key'), 'pk_1')",
    "INSERT INTO stream_sessions (stream_id, claim, server, boot, connection, client_ip, state, lease_until, started_at) VALUES ($1 || '-s', 'x', 's', 'b', 'c', '192.0.2.7', 'live', now(), now())",
  ];
  for (const statement of statements) {
    const needed = statement.includes("$1") ? [userId] : [];
    await database.query(statement, needed);
  }
}

/** Every table that has this text in a row. */
async function tablesWith(text: string): Promise<string[]> {
  const tables = await database.query<{ name: string }>(
    "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await database.query(`SELECT FROM ${name} AS t WHERE strpos(t::text, $1) > 0 LIMIT 1`, [text]);
    if (rows.length > 0) found.push(name);
  }
  return found;
}

describe("an export", () => {
  it("holds everything that is stored of the user, in its documented shape, and no key or password", async () => {
    const data = await userData.export("carol");
    expect(UserExport.parse(data)).toEqual(data);
    expect(data).toMatchObject({
      userId: "carol",
      account: {
        username: "carol-name",
        email: "carol@a.test",
        firstName: "Carol",
        role: "learner",
        hasPassword: true,
      },
      profile: { name: "Carol Lee", source: "profile" },
      files: [
        {
          courseId: "c1",
          fileId: "c1-f1",
          title: "File 1",
          watched: [
            [0, 30],
            [40, 45.5],
          ],
          watchedSeconds: 35.5,
          epoch: 2,
        },
        { courseId: "c2", fileId: "c2-f1" },
      ],
      courses: [{ courseId: "c1", title: "Course c1", watchedSeconds: 35.5, totalSeconds: 120 }, { courseId: "c2" }],
      lessons: [{ lessonId: "c1-l" }, { lessonId: "c2-l" }],
      resets: expect.arrayContaining([expect.objectContaining({ courseId: "c2", fileId: null, epoch: 4 })]),
      activity: [
        { type: "reset", byAnother: true },
        { type: "started", byAnother: false },
      ],
      actions: [{ type: "waived", courseId: "c1" }],
      teaches: [{ courseId: "c1" }, { courseId: "c2" }],
      streams: [{ streamId: "carol-s", title: "Live", keyPrefix: "pk_1" }],
      webhookEvents: [{ type: "completed", data: { userId: "carol", fileId: "c1-f1" } }],
      streamSessions: [{ streamId: "carol-s", clientIp: "192.0.2.7" }],
      xapiStatements: [{ verb: "paused", fileId: "c1-f1", position: 7, watched: [[0, 7]], refusal: "no" }],
      xapiSessions: [{ fileId: "c1-f1", player: "phone", stated: false }],
    });
    expect(JSON.stringify(data)).not.toMatch(/dave|hash"/);
  });

  it("knows every column that names a user", async () => {
    // A new one has to be read by export-user.ts and emptied by delete_user.sql. Then name it here.
    const columns = await database.query<{ place: string }>(
      `SELECT c.relname || '.' || a.attname AS place FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
       WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
         AND a.attname ~ 'user|actor|instructor|owner|learner|author|^by$' ORDER BY 1`,
    );
    expect(columns.map(({ place }) => place)).toEqual([
      "course_progress.user_id",
      "courses.instructor_id",
      "deleted_users.user_hash",
      "lesson_progress.user_id",
      "mirror.pass_user",
      "progress_journal.changed_users",
      "progress_journal.deleted_users",
      "reset_marks.user_id",
      "streams.user_id",
      "user_activity_log.actor_id",
      "user_activity_log.user_id",
      "user_profiles.user_id",
      "user_progress.user_id",
      "users.username",
      "xapi_sessions.user_id",
      "xapi_statements.user_id",
    ]);
  });

  it("reads lists of several pages", async () => {
    await database.query(
      "INSERT INTO user_activity_log (user_id, activity_type, duration_seconds) SELECT 'carol', 'resumed', n FROM generate_series(1, 1300) AS n",
    );
    const { activity } = await userData.export("carol");
    expect(new Set(activity.map(({ secondsSpent }) => secondsSpent)).size).toBe(1301);
    expect(activity).toHaveLength(1302);
  });

  it("is empty of a user whom nobody knows", async () => {
    const { userId, exportedAt, ...rest } = await userData.export("nobody");
    expect(userId).toBe("nobody");
    expect(
      Object.values(rest)
        .flat()
        .filter((part) => part !== null),
    ).toEqual([]);
  });
});

describe("a deletion", () => {
  it("leaves nothing of the user in any table but a hash, and everything of others", async () => {
    await userData.remove("carol");
    expect(await tablesWith("carol")).toEqual([]);
    expect(await tablesWith("Carol")).toEqual([]);
    expect(ended).toEqual(["carol"]);
    expect((await userData.export("dave")).files).toHaveLength(1);
    expect(await database.query("SELECT actor_id FROM user_activity_log WHERE user_id = 'dave'")).toContainEqual({
      actor_id: null,
    });
    expect(await database.query("SELECT instructor_id FROM courses ORDER BY id")).toEqual([
      { instructor_id: null },
      { instructor_id: null },
      { instructor_id: "ines" },
    ]);
    const { recounted, stored } = await recount(database);
    expect(stored).toEqual(recounted);
  });

  it("may be repeated, and of a user whom nobody knows it leaves a hash too", async () => {
    await userData.remove("carol");
    await userData.remove("carol");
    await userData.remove("who-is-this");
    await expect(deletedUsers.admit("who-is-this", Date.now() - 1000)).rejects.toThrow(/deleted/);
    expect(await tablesWith("who-is-this")).toEqual([]);
  });

  it("refuses what was issued before, in every process and after a restart, and lets a newer token begin anew", async () => {
    const other = await open();
    const before = Date.now() - 1000;
    await userData.remove("carol");
    const restarted = await open();
    other.reload();
    for (const users of [deletedUsers, other, restarted]) {
      await expect(users.admit("carol", before)).rejects.toMatchObject({ code: "unauthenticated", userId: "carol" });
      await users.admit("erin", before);
    }
    expect(ended).toEqual(["carol", "carol"]);
    await expect(database.query("INSERT INTO users (id) VALUES ('carol')")).rejects.toMatchObject({ code: "PH003" });

    await other.admit("carol", Date.now() + 60_000);
    await other.admit("carol", Date.now() + 60_000);
    await expect(other.admit("carol", before)).rejects.toMatchObject({ code: "unauthenticated" });
    await deletedUsers.admit("carol", Date.now() + 60_000);
    const { resets, deletion, account } = await userData.export("carol");
    expect(resets).toMatchObject([{ courseId: null, fileId: null }]);
    expect(account).toMatchObject({ username: null });
    expect(deletion?.returnedAt).not.toBeNull();
    await database.query("INSERT INTO user_progress (user_id, file_id) VALUES ('carol', 'c1-f2')");
    const [row] = await database.query<{ epoch: number }>("SELECT epoch FROM user_progress WHERE user_id = 'carol'");
    expect(row?.epoch).toBe(resets[0]?.epoch);

    await userData.remove("carol");
    await expect(other.admit("carol", before)).rejects.toMatchObject({ code: "unauthenticated" });
    const [again] = await database.query<{ epoch: number }>("SELECT max(epoch) AS epoch FROM deleted_users");
    expect(again?.epoch).toBeGreaterThan(row?.epoch as number);
  });

  it("does not hold up the heartbeats of others, waits for a batch of the user, and finds what that has written in another course", async () => {
    const [batch, others] = await Promise.all([database.pool.connect(), database.pool.connect()]);
    try {
      await batch.query("BEGIN");
      await batch.query("SELECT lock_writers('operation', ARRAY['carol'], ARRAY['c3'])");
      const removal = userData.remove("carol");
      const isWaiting = async () =>
        (await database.query("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")).length > 0;
      await waitFor(isWaiting, { what: "the deletion to wait for the user" });
      await others.query("BEGIN");
      await others.query("SELECT lock_batch('2s', ARRAY['dave'], ARRAY['c1', 'c2'])");
      await others.query("COMMIT");
      await batch.query("INSERT INTO user_progress (user_id, file_id) VALUES ('carol', 'c3-f1')");
      await batch.query("COMMIT");
      await removal;
      expect(await tablesWith("carol")).toEqual([]);
    } finally {
      batch.release();
      others.release();
    }
  });

  it("is not undone by the name of a token that is still to be written", async () => {
    const profiles = createProfiles({ pool: database.pool, logger });
    profiles.note("carol", "Carol Lee");
    await userData.remove("carol");
    await profiles.stop();
    expect(await tablesWith("Carol")).toEqual([]);
    await expect(profiles.put("carol", "Carol Lee")).rejects.toMatchObject({ code: "not_found" });
    profiles.note("dave", "Dave");
    profiles.forgetUsers((userId) => userId === "dave");
    await profiles.stop();
    expect(await tablesWith("Dave")).toEqual([]);
  });

  it("names the connection of a live stream that its media server has to drop", async () => {
    const client = await database.pool.connect();
    const heard: string[] = [];
    client.on("notification", ({ channel, payload }) => heard.push(`${channel} ${payload}`));
    try {
      await client.query("LISTEN stream_keys");
      await userData.remove("carol");
      await waitFor(() => heard.some((text) => text.includes('"sessionId"')), { what: "the session to be named" });
    } finally {
      await client.query("UNLISTEN *");
      client.removeAllListeners("notification");
      client.release();
    }
  });
});
