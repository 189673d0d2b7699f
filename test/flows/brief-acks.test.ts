import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { applyBriefAck, type BriefAck } from "../../src/protocol/brief-ack.ts";
import type { Heartbeat } from "../../src/protocol/heartbeat.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { type Client, connect, connectRaw, type RawClient } from "../helpers/socket-client.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * Acks as they are on the wire, whole and brief.
 */

/** What a brief ack of a beat that goes on may take on the wire. */
const MAX_BRIEF_BYTES = 120;
const HOUR = 3600;
const DURATION = 12 * HOUR;
const CREDITS_AT = 11.5 * HOUR;
const FILE_ID = "01977c52-5c0e-7d31-b9a4-4c2f3f0f4a11.mp4";

let database: TestDatabase;
let server: TestServer;
let userId: string;
const open: { close(): void }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  // Versions as after years.
  await database.query("SELECT setval('progress_version', 1234567890)");
  server = await startTestServer(database, { RATE_LIMIT_BURST: "100000" });
  const file = { id: FILE_ID, title: "Long", durationSeconds: DURATION, creditsAtSeconds: CREDITS_AT };
  await putCourse(server.url, "c1", {
    title: "Course",
    lessons: [{ id: "l1", title: "One", files: [file, { ...file, id: "other" }] }],
  });
});
beforeEach(({ task }) => {
  userId = `4f6d0f8e-93a5-4c2b-9a0e-${task.id.slice(-12).padStart(12, "0")}`;
});
afterEach(() => {
  for (const client of open.splice(0)) client.close();
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

async function connectBrief(): Promise<Client> {
  const token = await mintToken(userId);
  const client = await connect(server.url, "/player", token, { auth: { token, acks: "brief" } });
  open.push(client);
  return client;
}

/** A connection whose frames can be counted. */
async function connectRawPlayer(acks?: string): Promise<RawClient> {
  const client = await connectRaw(server.url);
  open.push(client);
  client.send(`40/player,${JSON.stringify({ token: await mintToken(userId), acks })}`);
  await client.hear((frame) => frame.startsWith("40/player,"));
  return client;
}

/** Sends a beat and gives the frame of its ack. */
async function sendRaw(client: RawClient, ackId: number, beat: object): Promise<string> {
  client.send(`42/player,${ackId}["heartbeat",${JSON.stringify({ fileId: FILE_ID, ...beat })}]`);
  return client.hear((frame) => frame.startsWith(`43/player,${ackId}[`));
}

function toAnswer(frame: string) {
  return JSON.parse(frame.slice(frame.indexOf("[")))[0];
}

describe("the handshake", () => {
  it.each([["whole"], [undefined]])("leaves acks as they are where it says %s", async (acks) => {
    const client = await connectRawPlayer(acks);
    for (const [ackId, position] of [8, 9].entries()) {
      const frame = await sendRaw(client, ackId, { position, sessionId: "s", seq: ackId });
      const { progress } = toAnswer(frame);
      expect(frame).toBe(`43/player,${ackId}[${JSON.stringify({ ok: true, progress, nextBeatMs: 10_000 })}]`);
      expect(progress).toMatchObject({ position, resumeAt: position - 2, watched: [], lessonId: "l1" });
    }
  });

  it.each(["Brief", "", null, 1, ["brief"]])("is refused where it asks for acks that are %j", async (acks) => {
    const token = await mintToken(userId);
    const refused = connect(server.url, "/player", token, { auth: { token, acks } });
    await expect(refused).rejects.toMatchObject({
      data: { code: "bad_request" },
      message: expect.stringContaining("acks"),
    });
  });

  it("is refused for its token as before where it asks for brief acks", async () => {
    const refused = connect(server.url, "/player", "", { auth: { token: "no token", acks: "brief" } });
    await expect(refused).rejects.toMatchObject({ data: { code: "unauthenticated" } });
  });
});

describe("the brief ack of a beat that goes on", () => {
  it("takes at most 120 bytes on the wire, far into a long file, in its credits, and while it is paused", async () => {
    const client = await connectRawPlayer("brief");
    const sessionId = "8c7f7f1c9a3e4b1f8d2a6c5e4f3b2a19";
    const start = 10 * HOUR;
    let frame = await sendRaw(client, 99_990, { position: start, sessionId, seq: 1000, epoch: 0, ageMs: 86_000_000 });
    let held: FileProgress = toAnswer(frame).progress;
    expect(Buffer.byteLength(frame)).toBeGreaterThan(400);
    const beats: Partial<Heartbeat>[] = [
      { position: start + 0.789, played: [[start, start + 0.789]], ageMs: 80_000_000 },
      { position: start + 1.234, played: [[start + 0.789, start + 1.234]] },
      { position: start + 1.234, played: [], state: "paused" },
      { position: CREDITS_AT + 61.203, played: [] },
      { position: CREDITS_AT + 62.111, played: [[CREDITS_AT + 61.203, CREDITS_AT + 62.111]] },
    ];
    for (const [i, beat] of beats.entries()) {
      const sent = { fileId: FILE_ID, position: 0, sessionId, seq: 1001 + i, epoch: 0, ...beat };
      frame = await sendRaw(client, 99_991 + i, sent);
      expect(Buffer.byteLength(frame), frame).toBeLessThanOrEqual(MAX_BRIEF_BYTES);
      held = applyBriefAck(held, sent, toAnswer(frame)) as FileProgress;
      expect(toAnswer(frame)).toMatchObject({ ok: true, base: expect.any(Number), version: held.version });
      const read = await client.callRaw("/player", JSON.stringify(["progress:get", { fileId: FILE_ID }]));
      expect(JSON.stringify(held)).toBe(JSON.stringify((read as { progress?: FileProgress }).progress));
    }
    expect(held).toMatchObject({ resumeAt: 0, position: CREDITS_AT + 62.111, watchTimeSeconds: 2.142 });
  });

  it("says only the version where the beat changes nothing", async () => {
    const client = await connectRawPlayer("brief");
    const first = toAnswer(await sendRaw(client, 1, { position: 20, sessionId: "s", seq: 1 })).progress;
    const frame = await sendRaw(client, 2, { position: 20, sessionId: "s", seq: 2, state: "paused", ageMs: 60_000 });
    expect(frame).toBe(`43/player,2[{"ok":true,"version":${first.version},"nextBeatMs":10000}]`);
  });

  it("comes also for a beat without session and number", async () => {
    const client = await connectBrief();
    const held = await client.call("heartbeat", { fileId: FILE_ID, position: 20 });
    if (!held.ok) throw new Error(held.error.message);
    const beat = { fileId: FILE_ID, position: 22, played: [[20, 22]] as [number, number][] };
    const { ok, ...ack } = (await client.call("heartbeat", beat)) as never as { ok: boolean } & BriefAck;
    expect(ok).toBe(true);
    const read = await client.call("progress:get", { fileId: FILE_ID });
    expect({ ok, progress: applyBriefAck(held.progress, beat, ack) }).toEqual(read);
  });

  it("is whole again for the first beat on a new connection, and of another file", async () => {
    const beat = { fileId: FILE_ID, position: 20, sessionId: "s" };
    const before = await connectBrief();
    expect(await before.call("heartbeat", { ...beat, seq: 1 })).toMatchObject({ progress: { position: 20 } });
    expect(await before.call("heartbeat", { ...beat, seq: 2, position: 21 })).not.toHaveProperty("progress");
    expect(await before.call("heartbeat", { ...beat, seq: 3, fileId: "other" })).toHaveProperty("progress");
    const after = await connectBrief();
    expect(await after.call("heartbeat", { ...beat, seq: 4, position: 22 })).toMatchObject({
      progress: { position: 22 },
    });
  });
});

describe("the results of a batch", () => {
  it("tell each progress whole once, to a player that asked for brief acks", async () => {
    const client = await connectBrief();
    const beats = Array.from({ length: 50 }, (_, i) => ({
      ...{ fileId: FILE_ID, position: 100 + i, ageMs: (50 - i) * 1000, sessionId: "s", seq: i },
      played: i === 0 ? [[100, 100.1]] : [],
    }));
    const answer = await client.call("heartbeats", { beats });
    if (!answer.ok) throw new Error(answer.error.message);
    const [first, ...rest] = answer.results as Record<string, unknown>[];
    expect(first).toMatchObject({ ok: true, progress: { position: 149, resumeAt: 147 }, nextBeatMs: 10_000 });
    const { version } = (first as { progress: FileProgress }).progress;
    for (const result of rest) expect(result).toEqual({ ok: true, version, resumeAt: 147, nextBeatMs: 10_000 });
  });

  it("are all whole for a player that did not ask", async () => {
    const token = await mintToken(userId);
    const client = await connect(server.url, "/player", token);
    open.push(client);
    const beats = [1, 2].map((seq) => ({ fileId: FILE_ID, position: 50 + seq, sessionId: "s", seq }));
    const answer = await client.call("heartbeats", { beats });
    if (!answer.ok) throw new Error(answer.error.message);
    for (const result of answer.results) expect(result).toMatchObject({ ok: true, progress: { position: 52 } });
  });
});
