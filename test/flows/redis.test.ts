import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Update } from "../../src/protocol/dashboard.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { startRedis, type TestRedis } from "../helpers/redis.ts";
import { putCourse, readMetric } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { type Client, connect } from "../helpers/socket-client.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Two nodes and a Redis between them. Each node shows what the other was told; no read is older than what its reader was
 * acked; and while Redis is away dashboards do not see the viewers of the other node, but everything else works.
 */

const TOPIC = "course:c1";

describe("two nodes and a Redis", () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let a: TestServer;
  let b: ServerProcess;
  const clients: Client[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    redis = await startRedis();
    const env = { REDIS_URL: redis.url, LOG_LEVEL: "error" };
    a = await startTestServer(database, env);
    b = await startServerProcess({ env: serverEnv(database, env) });
  });
  afterAll(async () => {
    await b?.kill();
    await a?.stop();
    await redis?.stop();
    await database?.drop();
  });
  beforeEach(async () => {
    await putCourse(a.url, "c1", {
      title: "One",
      instructorId: "ines",
      lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "One", durationSeconds: 6000 }] }],
    });
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });

  async function open(url: string, namespace: "/player" | "/dashboard", userId: string): Promise<Client> {
    const client = await connect(
      url,
      namespace,
      await mintToken(userId, namespace === "/player" ? "learner" : "instructor"),
    );
    clients.push(client);
    return client;
  }

  async function watch(url: string): Promise<Client> {
    const dashboard = await open(url, "/dashboard", "ines");
    expect(await dashboard.call("subscribe", { topic: TOPIC })).toMatchObject({ ok: true });
    return dashboard;
  }

  async function play(player: Client, position: number): Promise<FileProgress> {
    const answer = await player.call("heartbeat", { fileId: "f1", position });
    if (!answer.ok) throw new Error(answer.error.message);
    return answer.progress;
  }

  async function read(url: string, userId: string, minVersion?: number): Promise<FileProgress> {
    const query = minVersion === undefined ? "" : `?minVersion=${minVersion}`;
    const response = await fetch(`${url}/v1/progress/files/f1${query}`, {
      headers: { authorization: `Bearer ${await mintToken(userId)}` },
    });
    return (await response.json()) as FileProgress;
  }

  const shows = (userId: string, version: number) => (update: Update) =>
    (update.progress ?? []).some((row) => row.userId === userId && row.version >= version);

  it("add up what each of them cut from a user", async () => {
    await putCourse(a.url, "c2", {
      title: "Two",
      instructorId: "ines",
      lessons: [{ id: "l2", title: "Two", files: [{ id: "f2", title: "Two", durationSeconds: 6000 }] }],
    });
    const players = await Promise.all([open(a.url, "/player", "cutter"), open(b.url, "/player", "cutter")]);
    for (const player of players) {
      const answer = await player.call("heartbeat", { fileId: "f2", position: 5000, played: [[0, 5000]] });
      expect(answer).toMatchObject({ ok: true, cut: ["budget"] });
    }
    const headers = { authorization: `Bearer ${await mintToken("root", "admin")}` };
    for (const { url } of [a, b]) {
      const cuts = await (await fetch(`${url}/v1/users/cutter/cuts`, { headers })).json();
      expect(cuts).toMatchObject({ userId: "cutter", beats: 2, processes: 2 });
      expect(cuts.cutSeconds).toBeGreaterThan(9000);
    }
    expect(await readMetric(a.url, "playhead_beats_cut_total", 'reason="budget"')).toBe(1);
  });

  it("show each other's progress and viewers, and count each viewer once", async () => {
    const [atA, atB] = [await watch(a.url), await watch(b.url)];
    const { version } = await play(await open(a.url, "/player", "alice"), 5);
    await play(await open(b.url, "/player", "bob"), 5);
    for (const dashboard of [atA, atB]) {
      await dashboard.hear<Update>("update", shows("alice", version));
      await dashboard.hear<Update>("update", ({ viewers }) => viewers === 2);
    }
    const late = await open(b.url, "/dashboard", "ines");
    const answer = await late.call("subscribe", { topic: TOPIC });
    const first = answer.ok ? [answer.snapshot] : [];
    await waitFor(() => [...first, ...late.heard<Update>("update")].some(({ viewers }) => viewers === 2), {
      what: "the late dashboard to count both viewers",
    });
  });

  it("hold a subscription to a course's channel only while a dashboard watches the course", async () => {
    const channels = () => redis.ask((client) => client.pubsub("CHANNELS", "playhead:course:c1"));
    await waitFor(async () => ((await channels()) as string[]).length === 0, {
      what: "the subscription of an earlier test to end",
    });
    const dashboard = await watch(b.url);
    expect(await channels()).toEqual(["playhead:course:c1"]);
    dashboard.close();
    await waitFor(async () => ((await channels()) as string[]).length === 0, { what: "the subscription to end" });
  });

  it("read nothing older than the version that the reader was acked, whichever node acked it", async () => {
    const player = await open(a.url, "/player", "carol");
    for (let position = 10; position < 40; position++) {
      const { version } = await play(player, position);
      const [sameNode, otherNode] = await Promise.all([read(a.url, "carol"), read(b.url, "carol", version)]);
      expect(sameNode.version).toBeGreaterThanOrEqual(version);
      expect(otherNode.version).toBeGreaterThanOrEqual(version);
    }
  });

  it("serve a second reader from the cache until the row is written, by Playhead or by plain SQL", async () => {
    await play(await open(a.url, "/player", "dave"), 10);
    const hits = () => readMetric(b.url, "playhead_cache_reads_total", 'outcome="hit"');
    await waitFor(
      async () => {
        const before = await hits();
        await read(b.url, "dave");
        return (await hits()) > before;
      },
      { what: "a read to come from the cache" },
    );
    await database.query("UPDATE user_progress SET position_ms = 77000 WHERE user_id = 'dave'");
    await waitFor(async () => (await read(b.url, "dave")).position === 77, {
      what: "the position that plain SQL wrote",
    });
  });

  it("serve nothing from the cache that was read before a change of the catalogue", async () => {
    await play(await open(a.url, "/player", "erin"), 10);
    await read(b.url, "erin");
    await putCourse(a.url, "c1", {
      title: "One",
      instructorId: "ines",
      lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "One", durationSeconds: 60 }] }],
    });
    await waitFor(async () => (await read(b.url, "erin")).duration === 60, { what: "the new duration" });
  });

  it("ack, serve and show progress while Redis is away; dashboards say that they are behind, and are right afterwards", async () => {
    const [atA, atB] = [await watch(a.url), await watch(b.url)];
    const player = await open(a.url, "/player", "frank");
    await play(player, 5);
    await redis.kill();
    for (const dashboard of [atA, atB]) await dashboard.hear<Update>("update", ({ behind }) => behind === true);
    const { version } = await play(player, 50);
    expect(await read(b.url, "frank")).toMatchObject({ position: 50, version });
    // Both nodes hear from PostgreSQL what is written, on whichever node.
    for (const dashboard of [atA, atB]) await dashboard.hear<Update>("update", shows("frank", version));
    const late = await open(b.url, "/dashboard", "ines");
    expect(await late.call("subscribe", { topic: TOPIC })).toMatchObject({ ok: true, snapshot: { behind: true } });

    await redis.start();
    for (const dashboard of [atA, atB, late]) {
      await dashboard.hear<Update>("update", ({ behind }) => behind === false);
      const isLevel = (update: Update) =>
        update.snapshot === true && (update.courses ?? []).some(({ userId }) => userId === "frank");
      await dashboard.hear<Update>("update", isLevel);
      expect(dashboard.socket.connected).toBe(true);
    }
    const { version: next } = await play(player, 51);
    for (const dashboard of [atA, atB, late]) await dashboard.hear<Update>("update", shows("frank", next));
  });
});
