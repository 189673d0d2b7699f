import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Update } from "../../src/protocol/dashboard.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { type ObservedServer, observeServer } from "../helpers/observed-server-process.ts";
import { putCourse, readMetric } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { connectRawTo, type RawClient } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Socket.IO on uWebSockets.js drops in silence the frames that a slow socket cannot take. Here a dashboard does not read
 * for 20 s while 20,000 rows change, and another never reads again.
 */

const STALL_MS = 20_000;
const UPDATES = 20_000;
const LEARNERS = 200;
const FILES = Array.from({ length: 10 }, (_, i) => `f${i}`);
const TOPICS = ["course:c1", "lesson:l0", "lesson:l1", ...FILES.map((id) => `file:${id}`)];
const FRAME_INTERVAL_MS = 250;
const MEGABYTE = 2 ** 20;

let database: TestDatabase;
let server: ObservedServer;
beforeAll(async () => {
  database = await createTestDatabase();
  server = await observeServer(serverEnv(database));
  await putCourse(server.url, "c1", {
    title: "Course",
    instructorId: "ines",
    lessons: [0, 1].map((n) => ({
      id: `l${n}`,
      title: `Lesson ${n}`,
      files: FILES.filter((_, i) => i % 2 === n).map((id) => ({ id, title: id, durationSeconds: 100_000 })),
    })),
  });
  await database.query("insert into users (id) select 'learner-' || n from generate_series(1, $1) as n", [LEARNERS]);
  await database.query(
    `insert into user_progress (user_id, file_id, lesson_id, course_id)
     select 'learner-' || n, f.id, f.lesson_id, f.course_id from generate_series(1, $1) as n cross join files as f`,
    [LEARNERS],
  );
});
afterAll(async () => {
  expect(await server.stop()).toBe(0);
  expect(server.stderr()).toBe("");
  await database.drop();
});

async function watch(): Promise<RawClient> {
  const client = await connectRawTo(server.url, "/dashboard", await mintToken("ines", "instructor"));
  for (const topic of TOPICS) {
    expect(await client.callRaw("/dashboard", JSON.stringify(["subscribe", { topic }]))).toMatchObject({ ok: true });
  }
  return client;
}

const PREFIX = '42/dashboard,["update",';
const updateFrames = (client: RawClient) => client.frames.filter((frame) => frame.startsWith(PREFIX));

interface ShownRow {
  version: number;
  text: string;
}
/** Of each client, how many of its frames are read, and the rows that these show, by topic and key. */
const views = new WeakMap<RawClient, { framesRead: number; topics: Map<string, Map<string, ShownRow>> }>();

/** The versions and positions that the client shows in a topic after its snapshot and every frame, by key. */
function shownBy(client: RawClient, topic: string): Map<string, string> {
  const view = views.get(client) ?? { framesRead: 0, topics: new Map(TOPICS.map((name) => [name, new Map()])) };
  views.set(client, view);
  for (const frame of client.frames.slice(view.framesRead)) {
    if (frame.startsWith(PREFIX)) show(view.topics, JSON.parse(frame.slice(PREFIX.length, -1)));
    else if (/^43\/dashboard,\d+\[/.test(frame))
      show(view.topics, { ...JSON.parse(frame.slice(frame.indexOf("[")))[0].snapshot, snapshot: true });
  }
  view.framesRead = client.frames.length;
  return new Map([...(view.topics.get(topic) ?? [])].map(([key, { text }]) => [key, text]));
}

function show(topics: Map<string, Map<string, ShownRow>>, update: Update): void {
  const shown = topics.get(update.topic);
  if (shown === undefined) return;
  if (update.snapshot) shown.clear();
  const put = (key: string, version: number, more: string) => {
    if ((shown.get(key)?.version ?? 0) <= version) shown.set(key, { version, text: `${version} ${more}` });
  };
  for (const row of update.progress ?? []) put(`${row.userId} ${row.fileId}`, row.version, `at ${row.position}`);
  for (const row of update.lessons ?? []) put(`${row.userId} ${row.lessonId}`, row.version, "");
  for (const row of update.courses ?? []) put(`${row.userId} ${row.courseId}`, row.version, "");
}

async function stored(): Promise<Map<string, string>> {
  const rows = await database.query<{ key: string; text: string }>(
    `select user_id || ' ' || file_id as key, version || ' at ' || position_ms / 1000 as text from user_progress
     union all select user_id || ' ' || lesson_id, version || ' ' from lesson_progress
     union all select user_id || ' ' || course_id, version || ' ' from course_progress`,
  );
  return new Map(rows.map(({ key, text }) => [key, text]));
}

/** Waits until every row that the client shows is the stored row, and no learner of a file is missing. */
async function expectLevel(client: RawClient): Promise<void> {
  const truth = await stored();
  await waitFor(
    () => {
      for (const topic of TOPICS) {
        const shown = shownBy(client, topic);
        for (const [key, text] of shown) expect(`${topic} ${key} ${text}`).toBe(`${topic} ${key} ${truth.get(key)}`);
        if (topic.startsWith("file:")) expect(shown.size).toBe(LEARNERS);
      }
      return true;
    },
    { what: "the dashboard to be level", timeoutMs: 30_000 },
  );
}

it("serves a dashboard that stops reading with bounded memory, and the newest state in the end; other dashboards notice nothing", async () => {
  const slow = await watch();
  const healthy = await watch();
  await database.query("update user_progress set position_ms = 1000");
  await expectLevel(slow);
  await expectLevel(healthy);
  const before = await server.observe();

  slow.ws.pause();
  const framesBefore = slow.frames.length;
  const since = Date.now();
  let updates = 0;
  let slowest = 0;
  while (updates < UPDATES || Date.now() - since < STALL_MS) {
    const seen = healthy.frames.length;
    const rows = await database.query(
      "update user_progress set position_ms = position_ms + 1000 where file_id = any($1) returning 1",
      [FILES.slice((updates / 1000) % 2 === 0 ? 0 : 5).slice(0, 5)],
    );
    updates += rows.length;
    await waitFor(() => healthy.frames.length > seen, { what: "the healthy dashboard to get a frame" });
    slowest = Math.max(slowest, await readMetric(server.url, "playhead_slow_sockets"));
  }
  expect(slow.frames.length).toBe(framesBefore);
  // If no socket was slow, the kernel's buffers took everything, and this test would prove nothing.
  expect(slowest).toBeGreaterThan(0);
  const during = await server.observe();
  expect(during.mostBufferedBytes).toBeLessThan(MEGABYTE / 4);
  expect(during.heapBytes - before.heapBytes).toBeLessThan(16 * MEGABYTE);
  expect(during.rssBytes - before.rssBytes).toBeLessThan(96 * MEGABYTE);
  await expectLevel(healthy);

  slow.ws.resume();
  await expectLevel(slow);
  await waitFor(async () => (await readMetric(server.url, "playhead_slow_sockets")) === 0, {
    what: "no socket to be slow",
  });
  await database.query("update user_progress set position_ms = 7000 where user_id = 'learner-1'");
  for (const client of [slow, healthy]) await expectLevel(client);

  for (const client of [slow, healthy]) {
    const lastAt = new Map<string, number>();
    for (const frame of updateFrames(client)) {
      expect(Buffer.byteLength(frame)).toBeLessThanOrEqual(65_536);
      const { topic, at } = JSON.parse(frame.slice(PREFIX.length, -1)) as Update;
      // By the server's clock: the network may deliver two frames closer together.
      expect(Date.parse(at) - (lastAt.get(topic) ?? 0)).toBeGreaterThanOrEqual(FRAME_INTERVAL_MS - 5);
      lastAt.set(topic, Date.parse(at));
    }
    client.close();
  }
});

/** Whether the server holds a connection to this port of a client. What it has closed, the kernel may still try to deliver. */
async function isConnected(clientPort: number): Promise<boolean> {
  const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, "0");
  const ends = `:${hex(Number(new URL(server.url).port))} [0-9A-F]+:${hex(clientPort)} 01 `; // established
  return new RegExp(ends).test(await readFile("/proc/net/tcp", "utf8"));
}

it("ends the connection of a dashboard that never reads, although everything before waits unread", async () => {
  const stuck = await watch();
  const { localPort } = (stuck.ws as unknown as { _socket: { localPort: number } })._socket;
  stuck.ws.pause();
  await waitFor(
    async () => {
      await database.query("update user_progress set position_ms = position_ms + 1000");
      return (await readMetric(server.url, "playhead_slow_sockets")) > 0;
    },
    { what: "the dashboard to be slow", timeoutMs: 60_000 },
  );
  expect(await isConnected(localPort)).toBe(true);
  // After 30 s with a full buffer, or 35 s without an answer to a ping; not only when the rest was read, or given up.
  await waitFor(async () => !(await isConnected(localPort)), { what: "its connection to end", timeoutMs: 40_000 });
  expect(await readMetric(server.url, "playhead_slow_sockets")).toBe(0);
  stuck.close();
});
