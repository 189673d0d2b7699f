import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Update } from "../../src/protocol/dashboard.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { type Client, connect } from "../helpers/socket-client.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * One learner with several devices: each hears what the others do, and none undoes it.
 */

const MINUTE_MS = 60_000;

let database: TestDatabase;
let server: TestServer;
let userId: string;
const open: { close(): void }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startTestServer(database);
  const file = (id: string) => ({ id, title: id, durationSeconds: 1000 });
  await putCourse(server.url, "c1", {
    title: "Course",
    instructorId: "ines",
    lessons: [{ id: "l1", title: "One", files: [file("f1"), file("f2")] }],
  });
});
beforeEach(({ task }) => {
  userId = task.id;
});
afterEach(() => {
  for (const client of open.splice(0)) client.close();
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

async function device(user = userId): Promise<Client> {
  const client = await connect(server.url, "/player", await mintToken(user));
  open.push(client);
  return client;
}

async function beat(client: Client, position: number, more: object = {}): Promise<FileProgress> {
  const answer = await client.call("heartbeat", { fileId: "f1", position, ...more });
  if (!answer.ok) throw new Error(JSON.stringify(answer.error));
  return answer.progress;
}

const heardOf = (client: Client) => client.heard<FileProgress>("progress").map(({ position }) => position);
const at = (position: number) => (progress: FileProgress) => progress.position === position;
/** Everything that was sent to the client before has arrived. */
const settle = (client: Client) => client.call("progress:get", { fileId: "f1" });

describe("a beat of one device", () => {
  it("reaches the user's other devices whole, but neither itself nor the device of another user", async () => {
    const [phone, tv, tablet, stranger] = [await device(), await device(), await device(), await device("stranger")];
    const acked = await beat(phone, 12, { played: [[0, 5]] });
    for (const other of [tv, tablet]) expect(await other.hear("progress")).toEqual(acked);
    for (const client of [phone, stranger]) {
      await settle(client);
      expect(heardOf(client)).toEqual([]);
    }
    await beat(tv, 40);
    await phone.hear("progress", at(40));
    await tablet.hear("progress", at(40));
    await settle(tv);
    expect(heardOf(tv)).toEqual([12]);
  });

  it("is told with growing versions, and the newest one is told last, however fast the beats come", async () => {
    const [phone, tv] = [await device(), await device()];
    let last = 0;
    for (let i = 1; i <= 60; i++) last = (await beat(phone, i)).version;
    await tv.hear("progress", at(60));
    const versions = tv.heard<FileProgress>("progress").map(({ version }) => version);
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
    expect(versions.at(-1)).toBe(last);
    expect(versions.length).toBeLessThan(60);
    await settle(phone);
    expect(heardOf(phone)).toEqual([]);
  });

  it("reaches them also when the progress was changed over HTTP, by plain SQL, or by a reset", async () => {
    const [phone, tv] = [await device(), await device()];
    await fetch(`${server.url}/v1/heartbeats`, {
      method: "POST",
      body: JSON.stringify({ beats: [{ fileId: "f1", position: 21 }], token: await mintToken(userId) }),
    });
    for (const client of [phone, tv]) await client.hear("progress", at(21));
    await database.query("update user_progress set position_ms = 22000 where user_id = $1", [userId]);
    for (const client of [phone, tv]) await client.hear("progress", at(22));
    expect(await phone.call("progress:reset", { fileId: "f1" })).toMatchObject({ ok: true });
    expect(await tv.hear("progress", at(0))).toMatchObject({ epoch: 1, watched: [], completed: false });
  });
});

describe("the position to resume at", () => {
  it("is not moved back by the keep-alives of a paused device", async () => {
    const [tv, phone] = [await device(), await device()];
    const dashboard = await connect(server.url, "/dashboard", await mintToken("ines", "instructor"));
    open.push(dashboard);
    await dashboard.call("subscribe", { topic: "file:f1" });
    await beat(tv, 10, { state: "paused", sessionId: "tv", seq: 1, ageMs: 5000 });
    await beat(phone, 50, { state: "playing", sessionId: "phone", seq: 1 });
    for (let i = 1; i <= 3; i++) {
      const keepAlive = { state: "paused", sessionId: "tv", seq: 1 + i, ageMs: 5000 + i * 10_000 };
      expect(await beat(tv, 10, keepAlive)).toMatchObject({ position: 50, resumeAt: 48 });
    }
    const late = await connect(server.url, "/dashboard", await mintToken("root", "admin"));
    open.push(late);
    const snapshot = await late.call("subscribe", { topic: `user:${userId}` });
    expect(snapshot).toMatchObject({ ok: true, snapshot: { present: [{ position: 50, state: "playing" }] } });
    await beat(phone, 51, { state: "playing", sessionId: "phone", seq: 2 });
    await dashboard.hear<Update>("update", ({ progress = [] }) => progress.some(at(51) as never));
    const seen = dashboard
      .heard<Update>("update")
      .flatMap(({ present = [] }) => present)
      .filter((one) => one.userId === userId);
    expect(seen.at(-1)).toMatchObject({ position: 51, state: "playing" });
    expect(seen.slice(seen.findIndex(({ position }) => position === 50)).some(({ position }) => position === 10)).toBe(
      false,
    );
  });

  it("is not moved back by the late beats of a device that was offline, but their watched ranges count", async () => {
    const [phone, tv] = [await device(), await device()];
    await beat(tv, 300, { played: [[298, 300]], sessionId: "tv", seq: 1 });
    const late = await beat(phone, 20, { played: [[15, 20]], ageMs: 60 * MINUTE_MS, sessionId: "phone", seq: 1 });
    expect(late).toMatchObject({
      position: 300,
      watched: [
        [15, 20],
        [298, 300],
      ],
    });
  });

  it("goes back where the playing device goes back", async () => {
    const [phone, tv] = [await device(), await device()];
    await beat(phone, 300);
    expect(await beat(phone, 30)).toMatchObject({ position: 30, resumeAt: 28 });
    await tv.hear("progress", at(30));
  });

  it("is the position that was seen last, in every order of arrival", async () => {
    const clients = [await device(), await device(), await device()];
    const ages = [7, 2, 9, 1, 5, 8, 3, 6, 4];
    await Promise.all(
      ages.map((age, i) =>
        beat(clients[i % 3] as Client, 100 - age, { ageMs: age * MINUTE_MS, sessionId: `s${i % 3}`, seq: 100 - age }),
      ),
    );
    expect(await settle(clients[0] as Client)).toMatchObject({ ok: true, progress: { position: 99 } });
  });
});
