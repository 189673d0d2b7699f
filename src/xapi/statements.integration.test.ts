import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { type AnyStatement, checkOrder, checkStatement, extensionOf, verbOf } from "../../test/helpers/xapi-rules.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { XapiQuestion } from "../protocol/xapi.ts";
import { createStatementStore, type StatementStore } from "./statement-store.ts";

/*
 * What the triggers state of progress. Heartbeats are written by hand here, so that time can be set back.
 */

const NAMES = { base: "https://learn.example.org", homePage: "https://people.example.org" };
const IDLE_SECONDS = 120;

let database: TestDatabase;
let store: StatementStore;

beforeAll(async () => {
  database = await createTestDatabase();
  store = createStatementStore({ pool: database.pool }, NAMES);
  await createCatalogueStore(database).put("c", {
    title: "C",
    completionThreshold: 0.50001,
    lessons: [
      {
        id: "l",
        title: "L",
        files: [
          { id: "f", title: "Der Ozean", durationSeconds: 100 },
          { id: "credits", title: "", durationSeconds: 33.333, startSeconds: 1, creditsAtSeconds: 20 },
          { id: "unknown", title: "Live" },
        ],
      },
    ],
  });
  await database.query("INSERT INTO users (id) VALUES ('ann'), ('bob')");
});
afterAll(() => database.drop());
beforeEach(() => setMode("record"));
afterEach(async () => {
  await setMode("off");
  await database.query("DELETE FROM user_progress");
  await database.query("DELETE FROM reset_marks");
  await database.query("DELETE FROM xapi_sessions");
  await database.query("DELETE FROM xapi_statements");
});

const setMode = (mode: string) =>
  database.query("INSERT INTO settings VALUES ('xapi', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value", [
    mode,
  ]);

/** Writes a row as a heartbeat does. */
async function beat(given: { fileId?: string; session?: string; at?: number; watched?: string; userId?: string } = {}) {
  const { userId = "ann", fileId = "f", session = "s1", at = 10, watched = "{[0,10000)}" } = given;
  await database.query(
    `INSERT INTO user_progress AS p (user_id, file_id, position_ms, watched, watch_time_ms, writer_session, position_session,
       last_watched, beat_at) VALUES ($1, $2, $3, $4, 12345, $5, $5, clock_timestamp(), clock_timestamp())
     ON CONFLICT (user_id, file_id) DO UPDATE SET position_ms = excluded.position_ms, watched = p.watched + excluded.watched,
       writer_session = excluded.writer_session, position_session = excluded.position_session,
       last_watched = excluded.last_watched, beat_at = excluded.beat_at`,
    [userId, fileId, at * 1000, watched, session],
  );
}

/** Lets everything have happened so much earlier. */
async function wait(seconds: number): Promise<void> {
  await database.query("UPDATE user_progress SET beat_at = beat_at - make_interval(secs => $1)", [seconds]);
  await database.query("UPDATE xapi_sessions SET seen_at = seen_at - make_interval(secs => $1)", [seconds]);
}

/** Goes round once. @returns how many sessions have ended */
async function tend(): Promise<number> {
  const [row] = await database.query<{ ended: number }>(
    "SELECT xapi_tend_sessions(make_interval(secs => $1), ARRAY(SELECT id FROM xapi_sessions)) AS ended",
    [IDLE_SECONDS],
  );
  return row?.ended ?? 0;
}

/** All statements, the oldest first, after they were checked by the rules of the profile. */
async function list(question: object = {}): Promise<AnyStatement[]> {
  await tend();
  const { statements } = await store.list(XapiQuestion.parse({ ascending: "true", ...question }));
  expect(statements.flatMap(checkStatement)).toEqual([]);
  // A part of a session may not show how it began.
  if (Object.keys(question).length === 0) expect(checkOrder(statements)).toEqual([]);
  return statements;
}
const verbs = async () => (await list()).map(verbOf);
const result = (statement: AnyStatement, name: string) => extensionOf(statement, "result", name);

describe("a session", () => {
  it("is stated from the first heartbeat to the end, with what was watched and where it ended", async () => {
    await beat();
    await beat({ at: 20, watched: "{[14000,20000)}" });
    expect(await verbs()).toEqual(["initialized"]);
    await wait(IDLE_SECONDS);
    expect(await tend()).toBe(1);
    const [initialized, paused, terminated] = await list();
    expect((await list()).map(verbOf)).toEqual(["initialized", "paused", "terminated"]);
    expect(initialized).toMatchObject({
      actor: { account: { homePage: NAMES.homePage, name: "ann" } },
      object: { id: "https://learn.example.org/files/f", definition: { name: { und: "Der Ozean" } } },
      context: {
        contextActivities: {
          parent: [{ id: "https://learn.example.org/lessons/l" }],
          grouping: [{ id: "https://learn.example.org/courses/c" }],
        },
      },
    });
    expect(extensionOf(initialized, "context", "completion-threshold")).toBe(0.501);
    expect(extensionOf(initialized, "context", "length")).toBe(100);
    for (const last of [paused, terminated]) {
      expect(extensionOf(last, "context", "session-id")).toBe(initialized.id);
      expect(result(last, "time")).toBe(20);
      expect(result(last, "progress")).toBe(0.16);
      expect(result(last, "played-segments")).toBe("0.000[.]10.000[,]14.000[.]20.000");
    }
    await wait(IDLE_SECONDS);
    expect(await tend()).toBe(0);
  });

  it("goes on while heartbeats come, and a pause shorter than the end does not begin another one", async () => {
    await beat();
    await wait(100);
    expect(await tend()).toBe(0);
    await beat({ at: 20 });
    expect(await verbs()).toEqual(["initialized"]);
  });

  it("begins anew when the player comes back after the end", async () => {
    await beat();
    await wait(IDLE_SECONDS);
    await tend();
    await beat({ at: 30 });
    const statements = await list();
    expect(statements.map(verbOf)).toEqual(["initialized", "paused", "terminated", "initialized"]);
    expect(new Set(statements.map(({ context }) => context.registration)).size).toBe(1);
  });

  it("is one of each player, and each ends where that player was", async () => {
    await beat({ session: "phone", at: 10 });
    await beat({ session: "desk", at: 40 });
    await beat({ session: "phone", at: 11 });
    await beat({ session: "desk", at: 41 });
    expect(await verbs()).toEqual(["initialized", "initialized"]);
    await wait(IDLE_SECONDS);
    expect(await tend()).toBe(2);
    const ends = (await list()).filter((statement) => verbOf(statement) === "terminated");
    expect(ends.map((statement) => result(statement, "time")).sort()).toEqual([11, 41]);
  });

  it("ends for the player that has gone, while the other one goes on", async () => {
    await beat({ session: "phone" });
    await beat({ session: "desk", at: 40 });
    await tend();
    await wait(IDLE_SECONDS);
    await beat({ session: "desk", at: 50 });
    expect(await tend()).toBe(1);
    const statements = await list();
    expect(statements.map(verbOf)).toEqual(["initialized", "initialized", "paused", "terminated"]);
    expect(extensionOf(statements[3], "context", "session-id")).toBe(statements[0].id);
  });

  it("is one for all HTTP requests that name no session", async () => {
    for (let i = 0; i < 5; i++) await beat({ session: `http:${i}`, at: i });
    expect(await verbs()).toEqual(["initialized"]);
  });

  it("waits for a writer that holds the lock of its user", async () => {
    await beat();
    await wait(IDLE_SECONDS);
    const client = await database.pool.connect();
    await client.query("BEGIN");
    await client.query("SELECT lock_writers('batch', '{ann}', '{c}')");
    expect(await tend()).toBe(0);
    await client.query("ROLLBACK");
    client.release();
    expect(await tend()).toBe(1);
  });

  it("leaves no end where its progress was deleted", async () => {
    await beat();
    await tend();
    await database.query("DELETE FROM user_progress");
    expect(await tend()).toBe(0);
    expect(await verbs()).toEqual(["initialized"]);
    expect(await database.query("SELECT FROM xapi_sessions")).toEqual([]);
  });

  it("begins when its first heartbeat was written, whenever that is stated", async () => {
    await beat();
    const [row] = await database.query<{ at: Date }>("SELECT last_watched AS at FROM user_progress");
    await beat({ at: 20 });
    expect((await list())[0].timestamp).toBe(row?.at.toISOString());
  });

  it("is not stated of a file whose length nobody knows", async () => {
    await beat({ fileId: "unknown" });
    await wait(IDLE_SECONDS);
    await tend();
    expect(await verbs()).toEqual([]);
  });

  it("in which nothing was played has one segment without length", async () => {
    await beat({ at: 7, watched: "{}" });
    await wait(IDLE_SECONDS);
    await tend();
    expect(result((await list()).at(-1), "played-segments")).toBe("7.000[.]7.000");
  });
});

describe("completion", () => {
  it("is stated once, with the time spent, before the session ends", async () => {
    await beat({ watched: "{[0,60000)}", at: 60 });
    await beat({ watched: "{[0,99000)}", at: 99 });
    await wait(IDLE_SECONDS);
    await tend();
    const statements = await list();
    expect(statements.map(verbOf)).toEqual(["initialized", "completed", "paused", "terminated"]);
    expect(statements[1].result).toMatchObject({ completion: true, duration: "PT12.34S" });
    expect(result(statements[1], "progress")).toBe(0.6);
    expect(result(statements[2], "progress")).toBe(0.99);
  });

  it("meets its threshold where only a part of the file counts", async () => {
    await beat({ fileId: "credits", watched: "{[1000,10501)}", at: 10 });
    const completed = (await list())[1];
    expect(verbOf(completed)).toBe("completed");
    expect(extensionOf(completed, "context", "completion-threshold")).toBe(0.286);
    expect(result(completed, "progress")).toBe(0.286);
    expect(completed.object.definition.name).toBeUndefined();
  });

  it("is not stated again after it was taken back", async () => {
    await beat({ watched: "{[0,99000)}" });
    await database.query("UPDATE user_progress SET completed = false, completion_source = NULL");
    await beat({ watched: "{[0,100000)}" });
    expect(await verbs()).toEqual(["initialized", "completed"]);
  });

  it("is not what somebody else decided, or what a client says of itself", async () => {
    for (const source of ["manual", "waived", "reported"]) {
      await beat();
      await database.query("UPDATE user_progress SET completed = true, completion_source = $1", [source]);
      await wait(IDLE_SECONDS);
      await tend();
      await database.query("DELETE FROM user_progress");
    }
    expect(await verbs()).not.toContain("completed");
  });

  it("is stated at the end of the session that has watched what was completed in another way before", async () => {
    await beat();
    await database.query("UPDATE user_progress SET completed = true, completion_source = 'reported'");
    await beat({ watched: "{[0,90000)}" });
    await wait(IDLE_SECONDS);
    await tend();
    expect(await verbs()).toEqual(["initialized", "completed", "paused", "terminated"]);
  });

  it("by a change of the catalogue belongs to no session where nobody plays", async () => {
    await beat({ watched: "{[0,40000)}" });
    await wait(IDLE_SECONDS);
    await tend();
    await database.query("UPDATE files SET completion_threshold = 0.3 WHERE id = 'f'");
    const completed = (await list()).at(-1);
    expect(verbOf(completed)).toBe("completed");
    expect(extensionOf(completed, "context", "session-id")).toBeUndefined();
    await database.query("UPDATE files SET completion_threshold = NULL WHERE id = 'f'");
  });
});

it("ends the session at a reset, and begins another registration", async () => {
  await beat({ watched: "{[0,60000)}" });
  await database.query(
    "UPDATE user_progress SET epoch = epoch + 1, reset_at = now(), watched = '{}', completed = false, completion_source = NULL, writer_session = NULL, last_watched = NULL, position_ms = 0",
  );
  await beat({ watched: "{[0,60000)}", at: 3 });
  const statements = await list();
  expect(statements.map(verbOf)).toEqual([
    "initialized",
    "completed",
    "paused",
    "terminated",
    "initialized",
    "completed",
  ]);
  expect(result(statements[3], "progress")).toBe(0.6);
  expect(new Set(statements.map(({ context }) => context.registration)).size).toBe(2);
});

it("gives the files of a course one registration, and each learner another", async () => {
  await beat();
  await beat({ fileId: "credits" });
  await beat({ userId: "bob" });
  const [a, b, c] = await list();
  expect(a.context.registration).toBe(b.context.registration);
  expect(a.context.registration).not.toBe(c.context.registration);
});

it("writes nothing where it is switched off, for a restore, and for progress that is rolled back", async () => {
  await setMode("off");
  await beat({ watched: "{[0,99000)}" });
  await setMode("record");
  const client = await database.pool.connect();
  await client.query("BEGIN");
  await client.query("SET LOCAL playhead.announce = 'off'");
  await client.query("UPDATE user_progress SET writer_session = 'other', beat_at = now() + interval '1 hour'");
  await client.query("COMMIT");
  await client.query("BEGIN");
  await client.query("UPDATE user_progress SET writer_session = 'third', beat_at = now() + interval '2 hours'");
  await client.query("ROLLBACK");
  client.release();
  expect(await verbs()).toEqual([]);
});

it("queues statements only while there is a record store", async () => {
  await beat();
  await tend();
  expect(await database.query("SELECT FROM xapi_queue")).toEqual([]);
  await setMode("forward");
  await beat({ session: "s2" });
  await tend();
  expect(await database.query("SELECT FROM xapi_queue")).toHaveLength(1);
});

describe("the list", () => {
  beforeEach(async () => {
    for (const userId of ["ann", "bob"]) for (let i = 0; i < 5; i++) await beat({ userId, session: `s${i}` });
  });

  it.each(["true", "false"])("has every statement once, page by page (ascending: %s)", async (ascending) => {
    await tend();
    const seen: string[] = [];
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page = await store.list(XapiQuestion.parse({ limit: 3, ascending, cursor }));
      seen.push(...page.statements.map(({ id }) => id));
      cursor = page.cursor;
    }
    const all = (await list()).map(({ id }) => id);
    expect(seen).toEqual(ascending === "true" ? all : all.reverse());
    expect(new Set(seen).size).toBe(10);
  });

  it("is filtered by agent, verb, activity, id and the time of storing", async () => {
    await beat({ fileId: "credits", watched: "{[0,33333)}" });
    const all = await list();
    const agent = JSON.stringify({ account: { homePage: NAMES.homePage, name: "bob" } });
    expect(await list({ agent })).toHaveLength(5);
    expect(await list({ agent: "bob" })).toHaveLength(5);
    expect(await list({ agent: agent.replace("people", "others") })).toEqual([]);
    expect(await list({ agent: JSON.stringify({ mbox: "mailto:bob@example.org" }) })).toEqual([]);
    expect(await list({ verb: "http://adlnet.gov/expapi/verbs/completed" })).toHaveLength(1);
    expect(await list({ verb: "completed" })).toHaveLength(1);
    expect(await list({ verb: "http://adlnet.gov/expapi/verbs/failed" })).toEqual([]);
    expect(await list({ activity: "https://learn.example.org/files/credits" })).toHaveLength(2);
    expect(await list({ activity: "https://elsewhere.example.org/files/credits" })).toEqual([]);
    expect(await list({ statementId: all[3].id })).toEqual([all[3]]);
    const { stored } = all[4];
    expect(await list({ since: stored })).toEqual(all.filter((one) => one.stored > stored));
    expect(await list({ until: stored })).toEqual(all.filter((one) => one.stored <= stored));
  });
});
