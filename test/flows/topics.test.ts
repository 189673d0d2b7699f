import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Present, Update } from "../../src/protocol/dashboard.ts";
import type { Role } from "../../src/protocol/roles.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { type Client, connect, connectRawTo, type Namespace } from "../helpers/socket-client.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * What dashboards see: only topics that they may watch; a snapshot first, and then every change, whether Playhead or
 * plain SQL made it.
 */

/** Three beats. */
const LEASE_MS = 3000;

let database: TestDatabase;
let server: TestServer;
const open: { close(): void }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startTestServer(database, { BEAT_INTERVAL_MS: "1000", RATE_LIMIT_BURST: "10000" });
});
beforeEach(async () => {
  await putCourse(server.url, "c1", course("ines"));
});
afterEach(async () => {
  for (const client of open.splice(0)) client.close();
  await database.query("delete from courses");
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

function course(instructorId: string, f1Seconds = 100, prefix = "") {
  const file = (id: string, durationSeconds: number) => ({ id: `${prefix}${id}`, title: id, durationSeconds });
  return {
    title: "Course",
    instructorId,
    lessons: [
      { id: `${prefix}l1`, title: "One", files: [file("f1", f1Seconds), file("f2", 100)] },
      { id: `${prefix}l2`, title: "Two", files: [file("f3", 100)] },
    ],
  };
}

async function connectAs(namespace: Namespace, userId: string, role: Role = "learner"): Promise<Client> {
  const client = await connect(server.url, namespace, await mintToken(userId, role));
  open.push(client);
  return client;
}
const player = (userId: string) => connectAs("/player", userId);
const dashboard = (userId: string, role: Role) => connectAs("/dashboard", userId, role);

async function watch(client: Client, topic: string): Promise<Update> {
  const answer = await client.call("subscribe", { topic });
  if (!answer.ok) throw new Error(`${topic}: ${JSON.stringify(answer.error)}`);
  return answer.snapshot;
}

async function beat(client: Client, fileId: string, position: number, more: object = {}) {
  const answer = await client.call("heartbeat", { fileId, position, ...more });
  if (!answer.ok) throw new Error(JSON.stringify(answer.error));
  return answer.progress;
}

const updatesOf = (client: Client, topic: string) =>
  client.heard<Update>("update").filter((update) => update.topic === topic);
const shows = (topic: string, userId: string, position: number) => (update: Update) =>
  update.topic === topic && update.progress?.some((row) => row.userId === userId && row.position === position) === true;

describe("a topic", () => {
  const TOPICS = [
    "user:alice",
    "user:bob",
    "course:c1",
    "course:c1/user:alice",
    "lesson:l1",
    "file:f1",
    "course:nowhere",
    "course:nowhere/user:alice",
    "lesson:nowhere",
    "file:nowhere",
    "streams",
  ];
  const NO = "forbidden";
  const NONE = "not_found";
  // One outcome for each topic, in the order above.
  it.each<[string, Role, string[]]>([
    ["alice", "learner", ["ok", NO, NO, NO, NO, NO, NO, NO, NO, NO, "ok"]],
    ["ines", "instructor", [NO, NO, "ok", "ok", "ok", "ok", NO, NO, NO, NO, "ok"]],
    ["otto", "instructor", [NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, "ok"]],
    ["alice", "instructor", ["ok", NO, NO, NO, NO, NO, NO, NO, NO, NO, "ok"]],
    ["ines", "learner", [NO, NO, NO, NO, NO, NO, NO, NO, NO, NO, "ok"]],
    ["root", "admin", ["ok", "ok", "ok", "ok", "ok", "ok", NONE, NONE, NONE, NONE, "ok"]],
  ])("is shown to %s, %s, only if it is theirs", async (userId, role, expected) => {
    const client = await dashboard(userId, role);
    const outcomes: string[] = [];
    for (const topic of TOPICS) {
      const answer = await client.call("subscribe", { topic });
      outcomes.push(answer.ok ? "ok" : answer.error.code);
    }
    expect(outcomes).toEqual(expected);
    // A topic that was refused is not shown later either.
    await beat(await player("alice"), "f1", 10);
    await client.call("unsubscribe", { topic: "streams" });
    if (role === "admin") await client.hear("update", shows("file:f1", "alice", 10));
    const shown = new Set(client.heard<Update>("update").map(({ topic }) => topic));
    for (const topic of shown) expect(expected[TOPICS.indexOf(topic)]).toBe("ok");
  });

  it("of a stream that does not exist is answered with not_found, to every role", async () => {
    for (const role of ["learner", "instructor", "admin"] as const) {
      const client = await dashboard("someone", role);
      expect(await client.call("subscribe", { topic: "stream:x" })).toMatchObject({
        ok: false,
        error: { code: "not_found" },
      });
    }
  });

  it("comes as a snapshot first, and then as updates whose versions only grow", async () => {
    const alice = await player("alice");
    await beat(alice, "f1", 5, { played: [[0, 5]] });
    const token = await mintToken("ines", "instructor");
    const raw = await connectRawTo(server.url, "/dashboard", token);
    open.push(raw);
    // Beats go on while the dashboard subscribes.
    const beats = (async () => {
      for (let i = 6; i < 30; i++) await beat(alice, "f1", i);
    })();
    const answer = await raw.callRaw("/dashboard", '["subscribe",{"topic":"course:c1"}]');
    expect(answer).toMatchObject({
      ok: true,
      topic: "course:c1",
      snapshot: { topic: "course:c1", courses: [{ userId: "alice", totalFiles: 3 }], totals: { learners: 1 } },
    });
    await beats;
    await beat(alice, "f1", 50, { played: [[5, 10]] });
    // The position of the row: the position of the viewer may come before.
    await raw.hear((frame) => frame.includes('"position":50,"resumeAt"'));
    const isUpdate = (frame: string) => frame.startsWith('42/dashboard,["update"');
    expect(raw.frames.findIndex(isUpdate)).toBeGreaterThan(raw.frames.findIndex((frame) => frame.startsWith("43")));
    const newest = new Map<string, number>();
    for (const frame of raw.frames.filter(isUpdate)) {
      const update: Update = JSON.parse(frame.slice(frame.indexOf("[")))[1];
      expect(update.topic).toBe("course:c1");
      for (const row of [...(update.progress ?? []), ...(update.courses ?? []), ...(update.lessons ?? [])]) {
        expect(row).not.toHaveProperty("watched");
        const key = `${row.userId} ${"fileId" in row ? row.fileId : "lessonId" in row ? row.lessonId : row.courseId}`;
        expect(row.version).toBeGreaterThanOrEqual(newest.get(key) ?? 0);
        newest.set(key, row.version);
      }
    }
    const [row] = await database.query<{ version: number }>(
      "select version::integer as version from user_progress where user_id = 'alice'",
    );
    expect(newest.get("alice f1")).toBe(row?.version);
  });

  it("of one learner carries the watched ranges, and no row of any other learner", async () => {
    const adam = await player("adam");
    const own = await dashboard("adam", "learner");
    const theirs = await dashboard("ines", "instructor");
    expect(await watch(own, "user:adam")).toMatchObject({ topic: "user:adam", viewers: 0 });
    await watch(theirs, "course:c1/user:adam");
    await beat(await player("bob"), "f1", 3);
    await beat(adam, "f1", 8, { played: [[0, 8]] });
    for (const [client, topic] of [
      [own, "user:adam"],
      [theirs, "course:c1/user:adam"],
    ] as const) {
      const update = await client.hear<Update>("update", shows(topic, "adam", 8));
      expect(update).toMatchObject({
        progress: [{ userId: "adam", fileId: "f1", watched: [[0, 8]] }],
        lessons: [{ userId: "adam", lessonId: "l1", percentage: 4 }],
        courses: [{ userId: "adam", courseId: "c1", watchedDuration: 8 }],
      });
      for (const { progress = [] } of updatesOf(client, topic)) {
        for (const row of progress) expect(row.userId).toBe("adam");
      }
    }
  });

  it("sends no update after it was unsubscribed", async () => {
    const left = await dashboard("ines", "instructor");
    const stays = await dashboard("root", "admin");
    for (const client of [left, stays]) await watch(client, "file:f1");
    expect(await left.call("unsubscribe", { topic: "file:f1" })).toEqual({ ok: true });
    await beat(await player("alice"), "f1", 10);
    await stays.hear("update", shows("file:f1", "alice", 10));
    await left.call("unsubscribe", { topic: "file:f1" });
    expect(updatesOf(left, "file:f1")).toEqual([]);
  });
});

describe("a viewer", () => {
  // Each test has a course of its own, because leases outlive the test that made them.
  let prefix = "";
  beforeEach(async ({ task }) => {
    prefix = `${task.id}-`;
    await putCourse(server.url, `${prefix}c1`, course("ines", 100, prefix));
  });

  it("appears with its first heartbeat, is counted, and goes when its lease ends", async () => {
    const client = await dashboard("ines", "instructor");
    expect(await watch(client, `course:${prefix}c1`)).toMatchObject({ present: [], viewers: 0 });
    const at = Date.now();
    await beat(await player("alice"), `${prefix}f1`, 12, { state: "playing", rate: 1.5 });
    await beat(await player("bob"), `${prefix}f2`, 1, { state: "paused", ageMs: 500 });
    const here = await client.hear<Update>("update", (update) => update.viewers === 2);
    const present = client.heard<Update>("update").flatMap((update) => update.present ?? []);
    const find = (userId: string) => present.find((one) => one.userId === userId) as Present;
    expect(find("alice")).toMatchObject({ fileId: `${prefix}f1`, position: 12, state: "playing", rate: 1.5 });
    expect(find("alice").ageMs).toBeLessThanOrEqual(Date.parse(here.at) - at + 1);
    expect(find("bob")).toMatchObject({ fileId: `${prefix}f2`, position: 1, state: "paused" });
    expect(find("bob").ageMs).toBeGreaterThanOrEqual(500);

    const other = await dashboard("root", "admin");
    expect(await watch(other, `file:${prefix}f1`)).toMatchObject({
      viewers: 1,
      present: [{ userId: "alice", position: 12 }],
    });

    const gone = await client.hear<Update>("update", (update) => update.viewers === 0);
    const removed = client.heard<Update>("update").flatMap((update) => update.removed ?? []);
    expect(removed).toContainEqual({ kind: "present", userId: "alice", fileId: `${prefix}f1`, version: 0 });
    expect(removed).toContainEqual({ kind: "present", userId: "bob", fileId: `${prefix}f2`, version: 0 });
    expect(Date.parse(gone.at) - at).toBeGreaterThanOrEqual(LEASE_MS);
    // Presence stored nothing, and no position was extrapolated.
    expect(await database.query("select position_ms from user_progress where file_id = $1", [`${prefix}f1`])).toEqual([
      { position_ms: 12_000 },
    ]);
  });

  it("does not appear by an old heartbeat of a player that was offline", async () => {
    const client = await dashboard("ines", "instructor");
    await watch(client, `course:${prefix}c1`);
    await beat(await player("alice"), `${prefix}f1`, 12, { ageMs: 60_000 });
    await client.hear("update", shows(`course:${prefix}c1`, "alice", 12));
    expect(await watch(await dashboard("root", "admin"), `course:${prefix}c1`)).toMatchObject({
      present: [],
      viewers: 0,
    });
  });
});

describe("a row that was written by plain SQL", () => {
  it("is shown live, whether it was updated, inserted or deleted", async () => {
    const client = await dashboard("ines", "instructor");
    await beat(await player("alice"), "f1", 5);
    for (const topic of ["course:c1", "lesson:l1", "file:f1"]) await watch(client, topic);
    await database.query("update user_progress set position_ms = 33000 where user_id = 'alice'");
    for (const topic of ["course:c1", "lesson:l1", "file:f1"]) {
      await client.hear("update", shows(topic, "alice", 33));
    }
    await database.query("insert into users (id) values ('dave') on conflict do nothing");
    await database.query(
      "insert into user_progress (user_id, file_id, lesson_id, course_id, position_ms, watched) values ('dave', 'f1', 'l1', 'c1', 7000, '{[0,7000)}')",
    );
    const inserted = await client.hear<Update>("update", shows("course:c1", "dave", 7));
    expect(inserted.courses?.find((row) => row.userId === "dave")).toMatchObject({ watchedDuration: 7 });

    await database.query("delete from user_progress where user_id = 'dave'");
    const kinds = (update: Update) =>
      (update.removed ?? []).filter((one) => one.kind !== "stream" && one.userId === "dave").map(({ kind }) => kind);
    const removal = await client.hear<Update>(
      "update",
      (update) => update.topic === "course:c1" && kinds(update).includes("progress"),
    );
    expect(kinds(removal).sort()).toEqual(["course", "progress"]);
    const versionOf = (update: Update, kind: string) => update.removed?.find((one) => one.kind === kind)?.version ?? 0;
    expect(versionOf(removal, "progress")).toBeGreaterThan(
      inserted.progress?.find((row) => row.userId === "dave")?.version ?? Number.POSITIVE_INFINITY,
    );
    expect(versionOf(removal, "course")).toBeGreaterThan(
      inserted.courses?.find((row) => row.userId === "dave")?.version ?? Number.POSITIVE_INFINITY,
    );
  });

  it("is shown after the listener's connection was cut, but not to an instructor who lost the course meanwhile", async () => {
    const ines = await dashboard("ines", "instructor");
    const root = await dashboard("root", "admin");
    await beat(await player("alice"), "f1", 5);
    for (const client of [ines, root]) await watch(client, "file:f1");
    const cut = await database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name in ('playhead-listener', 'playhead-relay-listener')",
    );
    expect(cut).toHaveLength(2);
    await database.query("update user_progress set position_ms = 44000 where user_id = 'alice'");
    await database.query("update courses set instructor_id = 'otto' where id = 'c1'");
    expect(await root.hear<Update>("update", shows("file:f1", "alice", 44))).toMatchObject({ snapshot: true });
    expect(await ines.hear("unsubscribed")).toMatchObject({ topic: "file:f1", error: { code: "forbidden" } });
    await database.query("update user_progress set position_ms = 45000 where user_id = 'alice'");
    await root.hear("update", shows("file:f1", "alice", 45));
    await ines.call("unsubscribe", { topic: "file:f1" });
    expect(ines.heard<Update>("update").filter(shows("file:f1", "alice", 45))).toEqual([]);
  });
});

describe("a change of the catalogue", () => {
  it("changes the percentages of learners who did nothing meanwhile", async () => {
    const client = await dashboard("ines", "instructor");
    await beat(await player("alice"), "f1", 5, { played: [[0, 5]] });
    const before = await watch(client, "course:c1");
    expect(before.courses).toMatchObject([{ userId: "alice", totalDuration: 300, percentage: 1.66 }]);
    await putCourse(server.url, "c1", course("ines", 50));
    const after = await client.hear<Update>("update", (update) => update.courses?.[0]?.totalDuration === 250);
    expect(after).toMatchObject({ snapshot: true, courses: [{ userId: "alice", percentage: 2 }] });
    expect(after.courses?.[0]?.version).toBeGreaterThan(before.courses?.[0]?.version ?? Number.POSITIVE_INFINITY);
  });

  it.each([
    ["by PUT", () => putCourse(server.url, "c1", course("otto"))],
    ["by plain SQL", () => database.query("update courses set instructor_id = 'otto' where id = 'c1'")],
  ])(
    "that gives the course to another instructor (%s) ends the topics of the course that the first one watched",
    async (_, change) => {
      const ines = await dashboard("ines", "instructor");
      const otto = await dashboard("otto", "instructor");
      const topics = ["course:c1", "course:c1/user:alice", "lesson:l1", "file:f1"];
      for (const topic of topics) await watch(ines, topic);
      expect(await otto.call("subscribe", { topic: "course:c1" })).toMatchObject({ ok: false });
      await change();
      for (const topic of topics) {
        await ines.hear("unsubscribed", (told: { topic: string }) => told.topic === topic);
        expect(await ines.call("subscribe", { topic })).toMatchObject({ ok: false, error: { code: "forbidden" } });
      }
      await watch(otto, "course:c1");
      await beat(await player("alice"), "f1", 61);
      await otto.hear("update", shows("course:c1", "alice", 61));
      await ines.call("unsubscribe", { topic: "course:c1" });
      expect(ines.heard<Update>("update").filter(shows("course:c1", "alice", 61))).toEqual([]);
    },
  );

  it("that deletes the course ends the topics of the course for everybody, and empties the topics of its learners", async () => {
    const root = await dashboard("root", "admin");
    const alice = await dashboard("alice", "learner");
    await beat(await player("alice"), "f1", 5);
    await watch(root, "course:c1");
    await watch(alice, "user:alice");
    await database.query("delete from courses where id = 'c1'");
    expect(await root.hear("unsubscribed")).toMatchObject({ topic: "course:c1", error: { code: "not_found" } });
    const emptied = await alice.hear<Update>(
      "update",
      (update) => update.snapshot === true || update.removed?.some(({ kind }) => kind === "progress") === true,
    );
    expect(emptied.progress ?? []).toEqual([]);
  });
});
