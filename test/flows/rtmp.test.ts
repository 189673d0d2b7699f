import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Update } from "../../src/protocol/dashboard.ts";
import type { CreateStream, Stream, StreamDrop } from "../../src/protocol/stream.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { connectMediaServer, type MediaServer, type MediaServerAuth } from "../helpers/media-server.ts";
import { readMetric } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { type Client, ConnectError, connect, connectRaw } from "../helpers/socket-client.ts";
import { createStreamSteps } from "../helpers/stream-sessions.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Media servers over real sockets: which of them are let in, what they may call and are told, and what dashboards show.
 */

const SECRETS = ["the-first-secret", "the-second-secret"];
const ENVIRONMENT = {
  RTMP_SECRETS: SECRETS.join(),
  STREAM_LEASE_SECONDS: "2",
  STREAM_RECONNECT_SECONDS: "1",
  MAX_STREAMS_PER_USER: "1000",
};

let database: TestDatabase;
let server: TestServer;
const open: { close(): void }[] = [];
let lastServer = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startTestServer(database, ENVIRONMENT);
});
afterEach(async () => {
  for (const client of open.splice(0)) client.close();
  const steps = createStreamSteps(database);
  // A lease that has just been lost changes the stream a moment later.
  await expect.poll(() => steps.findDisagreements(), { timeout: 10_000 }).toEqual([]);
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

/** A media server that no other test knows, unless it is named. */
async function media(auth: MediaServerAuth = {}, url = server.url): Promise<MediaServer> {
  lastServer += 1;
  const client = await connectMediaServer(url, {
    secret: SECRETS[0],
    server: `edge-${lastServer}`,
    boot: "b1",
    ...auth,
  });
  open.push(client);
  return client;
}

async function http(method: string, path: string, body?: object, url = server.url) {
  const response = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${await mintToken("ines", "instructor")}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.status === 204 ? {} : ((await response.json()) as { stream: Stream; streamKey: string });
}

async function newStream(settings: Partial<CreateStream> = {}): Promise<{ id: string; key: string }> {
  const made = (await http("POST", "/v1/streams", { title: "Talk", ...settings })) as {
    stream: Stream;
    streamKey: string;
  };
  return { id: made.stream.id, key: made.streamKey };
}

async function dashboard(topic: string): Promise<Client & { statuses(): string[]; versions(): number[] }> {
  const client = await connect(server.url, "/dashboard", await mintToken("lena"));
  open.push(client);
  const answer = await client.call("subscribe", { topic });
  if (!answer.ok) throw new Error(answer.error.message);
  const id = topic.slice("stream:".length);
  const streams = () =>
    [answer.snapshot, ...client.heard<Update>("update")]
      .filter((update) => update.topic === topic)
      .flatMap((update) => update.streams ?? [])
      .filter((stream) => topic === "streams" || stream.id === id);
  return {
    ...client,
    statuses: () =>
      streams()
        .map(({ status }) => status)
        .filter((status, i, all) => status !== all[i - 1]),
    versions: () => streams().map(({ version }) => version),
  };
}

async function rows(streamId: string) {
  return database.query(
    "SELECT s.status, s.version, e.claim, e.state, e.lease_until FROM streams s LEFT JOIN stream_sessions e ON e.stream_id = s.id WHERE s.id = $1",
    [streamId],
  );
}

async function refusalOf(connecting: Promise<unknown>): Promise<ConnectError["data"]> {
  const error = await connecting.then(
    () => new Error("it was let in"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConnectError)) throw error;
  return error.data;
}

describe("a media server that connects", () => {
  it("is let in with any of the secrets", async () => {
    for (const secret of SECRETS) {
      expect(await (await media({ secret })).validate("nobody's")).toEqual({
        ok: true,
        valid: false,
        reason: "unknown",
      });
    }
  });

  it.each<[string, MediaServerAuth, string]>([
    ["a wrong secret", { secret: "wrong" }, "unauthenticated"],
    ["no secret", { server: "edge" }, "unauthenticated"],
    ["all secrets in one", { secret: SECRETS.join() }, "unauthenticated"],
    ["an empty secret", { secret: "" }, "bad_request"],
    ["an array of the secret", { secret: [SECRETS[0]] }, "bad_request"],
    ["an object", { secret: { 0: SECRETS[0] } }, "bad_request"],
    ["a secret of 10 KB", { secret: "x".repeat(10_000) }, "bad_request"],
    ["a right secret and a number for a name", { secret: SECRETS[0], server: 7 }, "bad_request"],
    ["a right secret and a name of 129 characters", { secret: SECRETS[0], server: "x".repeat(129) }, "bad_request"],
    ["a right secret and a boot with U+0000", { secret: SECRETS[0], boot: "\u0000" }, "bad_request"],
  ])("is refused with %s", async (_, auth, code) => {
    const data = await refusalOf(connectMediaServer(server.url, auth));
    expect(data?.code).toBe(code);
    expect(JSON.stringify(data)).not.toContain(SECRETS[0]);
  });

  it("is refused with auth that is no object, and nothing breaks", async () => {
    for (const auth of ["null", "[]", '["the-first-secret"]', '"the-first-secret"', "7", ""]) {
      const raw = await connectRaw(server.url);
      open.push(raw);
      raw.send(`40/rtmp,${auth}`);
      const refused = raw
        .hear((frame) => frame.startsWith("44/rtmp,"))
        .then(
          () => "refused",
          () => "silence",
        );
      expect(await Promise.race([refused, raw.closed.then(() => "closed")])).not.toBe("silence");
      expect(raw.frames.filter((frame) => frame.startsWith("40/rtmp"))).toEqual([]);
    }
  });

  it("is told to wait after many wrong secrets from its address, but gets in with a right one", async () => {
    const codes: (string | undefined)[] = [];
    for (let i = 0; i < 40; i++)
      codes.push((await refusalOf(connectMediaServer(server.url, { secret: `w${i}` })))?.code);
    expect(codes.at(-1)).toBe("rate_limited");
    const data = await refusalOf(connectMediaServer(server.url, { secret: "wrong" }));
    expect(data?.retryAfterMs).toBeGreaterThan(0);
    await media();
  });

  it("counts as another server with every connection when it has no name", async () => {
    const { id, key } = await newStream();
    const [first, second] = [
      await media({ server: undefined, boot: undefined }),
      await media({ server: undefined, boot: undefined }),
    ];
    const sessionId = await first.publish(key, "1");
    expect(await second.validate(key, "1")).toEqual({ ok: true, valid: false, reason: "already_live" });
    expect(await second.call("stream:ended", { sessionId })).toMatchObject({ ok: false, error: { code: "not_found" } });
    expect(await rows(id)).toMatchObject([{ status: "live", claim: sessionId }]);
    await http("POST", `/v1/streams/${id}/revoke`, {});
    expect(await first.dropOf(sessionId)).toBe("revoked");
  });

  it("may come back under its name and go on with its sessions", async () => {
    const { key } = await newStream();
    const name = { server: "returning", boot: "b7" };
    const first = await media(name);
    const sessionId = await first.publish(key);
    first.close();
    const second = await media(name);
    expect(await second.call("stream:stats", { sessionId, viewers: 1 })).toMatchObject({ ok: true });
    const ended = await second.call("stream:ended", { sessionId });
    expect(ended).toMatchObject({ ok: true, stream: { status: "reconnecting" } });
  });
});

describe("a call that is malformed", () => {
  const LONG = "x".repeat(10_000);
  const BAD: [string, string, unknown[]][] = [
    ["no key", "stream:validate", [{ connectionId: "c" }]],
    ["no connection", "stream:validate", [{ streamKey: "k" }]],
    ["an empty key", "stream:validate", [{ streamKey: "", connectionId: "c" }]],
    ["a key of 10 KB", "stream:validate", [{ streamKey: LONG, connectionId: "c" }]],
    ["a number for a key", "stream:validate", [{ streamKey: 7, connectionId: "c" }]],
    ["an array of keys", "stream:validate", [{ streamKey: ["k"], connectionId: "c" }]],
    ["an object for a key", "stream:validate", [{ streamKey: { toString: "k" }, connectionId: "c" }]],
    ["a connection of 10 KB", "stream:validate", [{ streamKey: "k", connectionId: LONG }]],
    ["a number for a connection", "stream:validate", [{ streamKey: "k", connectionId: 7 }]],
    ["a connection with U+0000", "stream:validate", [{ streamKey: "k", connectionId: "c\u0000" }]],
    ["an app with U+0000", "stream:validate", [{ streamKey: "KEY", connectionId: "c", app: "a\u0000" }]],
    ["an address with U+0000", "stream:validate", [{ streamKey: "KEY", connectionId: "c", clientIp: "\u0000" }]],
    ["a protocol with U+0000", "stream:validate", [{ streamKey: "KEY", connectionId: "c", protocol: "\u0000" }]],
    ["an app of 10 KB", "stream:validate", [{ streamKey: "KEY", connectionId: "c", app: LONG }]],
    ["nothing", "stream:validate", []],
    ["an array", "stream:validate", [["k", "c"]]],
    ["null", "stream:started", [null]],
    ["a text", "stream:started", ["SESSION"]],
    ["a number for a session", "stream:started", [{ sessionId: 7 }]],
    ["an array of sessions", "stream:ended", [{ sessionId: ["SESSION"] }]],
    ["a session of 10 KB", "stream:ended", [{ sessionId: LONG }]],
    ["a session with U+0000", "stream:ended", [{ sessionId: "SESSION\u0000" }]],
    ["a reason of 10 KB", "stream:ended", [{ sessionId: "SESSION", reason: LONG }]],
    ["a reason with U+0000", "stream:ended", [{ sessionId: "SESSION", reason: "\u0000" }]],
    ["a number for a reason", "stream:ended", [{ sessionId: "SESSION", reason: 7 }]],
    ["a negative bitrate", "stream:stats", [{ sessionId: "SESSION", bitrateKbps: -1 }]],
    ["half a viewer", "stream:stats", [{ sessionId: "SESSION", viewers: 0.5 }]],
    ["NaN for viewers, which JSON writes as null", "stream:stats", [{ sessionId: "SESSION", viewers: Number.NaN }]],
    ["more viewers than there are people", "stream:stats", [{ sessionId: "SESSION", viewers: 1e12 }]],
    ["a text for the media time", "stream:stats", [{ sessionId: "SESSION", mediaTimeMs: "7" }]],
  ];

  it.each(BAD)("is refused as bad_request with %s, and changes nothing: %s", async (_what, event, given) => {
    const { id, key } = await newStream();
    const client = await media();
    const sessionId = await client.publish(key);
    const before = await rows(id);
    const filled = JSON.parse(JSON.stringify(given).replaceAll("SESSION", sessionId).replaceAll("KEY", key));
    const answer = await client.call(event, ...filled);
    expect(answer).toMatchObject({ ok: false, error: { code: "bad_request" } });
    expect(JSON.stringify(answer)).not.toContain(key);
    expect(await rows(id)).toEqual(before);
    expect(await client.call("stream:stats", { sessionId, viewers: 1 })).toMatchObject({ ok: true });
  });

  it("is refused in binary, whatever it holds", async () => {
    const { id } = await newStream();
    const client = await media();
    const before = await rows(id);
    // The protocol has no binary: the connection that sends it is closed.
    await expect(client.validate(Buffer.from("key"))).rejects.toThrow("disconnected");
    expect(await rows(id)).toEqual(before);
    expect(await (await media()).validate("k")).toMatchObject({ ok: true, valid: false });
  });

  it("is told which calls there are when its name is unknown, and changes nothing without an ack", async () => {
    const { id, key } = await newStream();
    const client = await media();
    const unknown = await client.call("stream:publish", { streamKey: key, connectionId: "c" });
    expect(unknown).toMatchObject({ ok: false, error: { code: "bad_request" } });
    expect(JSON.stringify(unknown)).toContain("stream:validate");
    client.socket.emit("stream:validate", { streamKey: key, connectionId: "c" });
    expect(await client.hear("problem")).toMatchObject({ error: { code: "bad_request" } });
    expect(await rows(id)).toMatchObject([{ status: "ready", claim: null }]);
  });

  it("is refused for a session of another server or boot, an ended and a made-up one, and changes nothing", async () => {
    const { id, key } = await newStream({ reconnectWindowSeconds: 0 });
    const owner = await media({ server: "owner", boot: "b1" });
    const sessionId = await owner.publish(key);
    const before = await rows(id);
    const others = [
      await media(),
      await media({ server: "owner", boot: "b2" }),
      await media({ server: "owner", boot: undefined }),
    ];
    for (const event of ["stream:started", "stream:stats", "stream:ended"]) {
      for (const other of others) {
        expect(await other.call(event, { sessionId })).toMatchObject({ ok: false, error: { code: "not_found" } });
      }
      expect(await owner.call(event, { sessionId: "made-up" })).toMatchObject({
        ok: false,
        error: { code: "not_found" },
      });
    }
    expect(await rows(id)).toEqual(before);
    await owner.call("stream:ended", { sessionId });
    const ended = await rows(id);
    for (const event of ["stream:started", "stream:stats", "stream:ended"]) {
      expect(await owner.call(event, { sessionId })).toMatchObject({ ok: false, error: { code: "conflict" } });
    }
    expect(await rows(id)).toEqual(ended);
  });
});

describe("wrong keys", () => {
  it("are limited for one address, while a right key from there is valid and other addresses are not limited", async () => {
    const { key } = await newStream();
    const client = await media();
    const from = { clientIp: "192.0.2.7" };
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => client.validate(`wrong-${i}`, `c${i}`, from)),
    );
    const limited = answers.filter((answer) => !answer.ok && answer.error.code === "rate_limited");
    expect(limited.length).toBeGreaterThan(30);
    expect(limited[0]).toMatchObject({ error: { retryAfterMs: expect.any(Number) } });
    expect(await client.validate(key, "right", from)).toMatchObject({ ok: true, valid: true });
    expect(await client.validate("wrong", "c", { clientIp: "192.0.2.8" })).toMatchObject({
      ok: true,
      reason: "unknown",
    });
    expect(await (await media()).validate("wrong", "c", from)).toMatchObject({ ok: true, reason: "unknown" });
  });

  it("are limited for one server over all addresses, and right keys beside them are valid", async () => {
    const streams = await Promise.all(Array.from({ length: 10 }, () => newStream()));
    const client = await media();
    const wrong = Promise.all(
      Array.from({ length: 1000 }, (_, i) =>
        client.validate(`wrong-${i}`, `c${i}`, { clientIp: `198.51.${i >> 8}.${i & 255}` }),
      ),
    );
    const right = await Promise.all(streams.map(({ key }, i) => client.validate(key, `right-${i}`)));
    expect(right.filter((answer) => answer.ok && answer.valid)).toHaveLength(streams.length);
    const codes = (await wrong).map((answer) => (answer.ok ? "ok" : answer.error.code));
    expect(codes.filter((code) => code === "rate_limited").length).toBeGreaterThan(300);
    expect(codes.filter((code) => !["ok", "rate_limited"].includes(code))).toEqual([]);
  });
});

describe("a live session", () => {
  it.each([
    ["revoked", (id: string) => http("POST", `/v1/streams/${id}/revoke`, {})],
    ["disabled", (id: string) => http("POST", `/v1/streams/${id}/disable`, {})],
    [
      "expired",
      (id: string) => database.query("UPDATE streams SET expires_at = clock_timestamp() WHERE id = $1", [id]),
    ],
    ["ended", (id: string) => database.query("UPDATE streams SET status = 'ended' WHERE id = $1", [id])],
  ])("is dropped by its media server, and by no other, when its stream is %s", async (reason, change) => {
    const { id, key } = await newStream();
    const [owner, other] = [await media(), await media()];
    const sessionId = await owner.publish(key);
    await change(id);
    expect(await owner.dropOf(sessionId)).toBe(reason);
    const answer = await owner.call("stream:stats", { sessionId });
    expect(answer).toMatchObject({ ok: false, error: { code: "conflict" } });
    expect(owner.heard<StreamDrop>("stream:drop")).toEqual([{ sessionId, reason }]);
    expect(other.heard("stream:drop")).toEqual([]);
    const verdict = await other.validate(key);
    expect(verdict).toMatchObject(reason === "ended" ? { valid: true } : { valid: false, reason });
  });

  it("is dropped when its stream is deleted", async () => {
    const { id, key } = await newStream();
    const client = await media();
    const sessionId = await client.publish(key);
    await database.query("DELETE FROM streams WHERE id = $1", [id]);
    expect(await client.dropOf(sessionId)).toBe("revoked");
    expect(await client.call("stream:stats", { sessionId })).toMatchObject({ ok: false, error: { code: "not_found" } });
    expect(await client.validate(key)).toMatchObject({ valid: false, reason: "unknown" });
  });

  it("is dropped when its media server, which was away meanwhile, comes back with the same boot", async () => {
    const { id, key } = await newStream();
    const name = { server: "away", boot: "b1" };
    const before = await media(name);
    const sessionId = await before.publish(key);
    before.close();
    await waitFor(async () => (await readMetric(server.url, "playhead_sockets", "/rtmp")) === 0, {
      what: "it to be gone",
    });
    await http("POST", `/v1/streams/${id}/revoke`, {});
    const rebooted = await media({ server: "away", boot: "b2" });
    const after = await media(name);
    expect(await after.dropOf(sessionId)).toBe("revoked");
    expect(rebooted.heard("stream:drop")).toEqual([]);
  });

  it("is dropped when its key expires, although nobody asks", async () => {
    const expiresAt = new Date(Date.now() + 1500).toISOString();
    const { id, key } = await newStream({ expiresAt });
    const watching = await dashboard(`stream:${id}`);
    const client = await media();
    const verdict = await client.validate(key, "c1");
    expect(verdict).toMatchObject({ valid: true });
    if (!verdict.ok || !verdict.valid) return;
    expect(verdict.lifetimeMs).toBeGreaterThan(0);
    expect(verdict.lifetimeMs).toBeLessThanOrEqual(1500);
    await client.call("stream:started", { sessionId: verdict.sessionId });
    expect(await client.dropOf(verdict.sessionId)).toBe("expired");
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expiresAt));
    await waitFor(() => watching.statuses().at(-1) === "expired", { what: "the dashboard to see it" });
  });

  it("goes on when its key is rotated", async () => {
    const { id, key } = await newStream();
    const client = await media();
    const sessionId = await client.publish(key, "c1");
    const rotated = (await http("POST", `/v1/streams/${id}/rotate`, {})) as { streamKey: string };
    expect(await client.call("stream:stats", { sessionId, viewers: 3 })).toMatchObject({ ok: true });
    expect(await client.validate(key, "c2")).toMatchObject({ valid: false, reason: "unknown" });
    expect(await client.validate(rotated.streamKey, "c2")).toMatchObject({ valid: false, reason: "already_live" });
    expect(client.heard("stream:drop")).toEqual([]);
  });

  it("is dropped when a second encoder comes and the policy is takeover", async () => {
    const { id, key } = await newStream({ policy: "takeover" });
    const [first, second] = [await media(), await media()];
    const sessionId = await first.publish(key);
    const next = await second.publish(key);
    expect(await first.dropOf(sessionId)).toBe("taken_over");
    expect(await rows(id)).toHaveLength(2);
    expect(await second.call("stream:stats", { sessionId: next })).toMatchObject({ ok: true });
    expect(second.heard("stream:drop")).toEqual([]);
    // Told once, although PostgreSQL notifies the drop as well.
    expect(first.heard("stream:drop")).toHaveLength(1);
  });
});

describe("dashboards", () => {
  it("show a stream from ready to ended, through a reconnect, with versions that only grow", async () => {
    const { id, key } = await newStream();
    const one = await dashboard(`stream:${id}`);
    const all = await dashboard("streams");
    const client = await media();
    const show = (status: string) =>
      waitFor(() => one.statuses().at(-1) === status, { what: `${status}; it was ${one.statuses()}` });
    const first = await client.publish(key, "c1");
    await show("live");
    await client.call("stream:ended", { sessionId: first });
    await show("reconnecting");
    const second = await client.publish(key, "c2");
    await show("live");
    await client.call("stream:ended", { sessionId: second });
    await show("ended");
    expect(one.statuses()).toEqual(["ready", "live", "reconnecting", "live", "reconnecting", "ended"]);
    expect(one.versions()).toEqual([...new Set(one.versions())].sort((a, b) => a - b));
    await waitFor(
      () => all.heard<Update>("update").some((u) => u.streams?.some((s) => s.id === id && s.status === "ended")),
      {
        what: "the dashboard of all streams to see it",
      },
    );
  });

  it("show a stream as reconnecting and then ended when its media server vanishes", async () => {
    const { id, key } = await newStream();
    const watching = await dashboard(`stream:${id}`);
    const client = await media();
    await client.publish(key);
    client.close();
    await waitFor(() => watching.statuses().at(-1) === "ended", { what: `ended; it was ${watching.statuses()}` });
    expect(watching.statuses()).toEqual(["ready", "live", "reconnecting", "ended"]);
    expect(await database.query("SELECT end_reason FROM stream_sessions WHERE stream_id = $1", [id])).toEqual([
      { end_reason: "lease_lost" },
    ]);
  });

  it("show changes that psql makes, and deletions", async () => {
    const { id } = await newStream();
    const watching = await dashboard(`stream:${id}`);
    for (const status of ["disabled", "ready", "revoked", "expired"]) {
      await database.query("UPDATE streams SET status = $2 WHERE id = $1", [id, status]);
      await waitFor(() => watching.statuses().at(-1) === status, { what: `the dashboard to see ${status}` });
    }
    const last = watching.versions().at(-1) as number;
    await database.query("DELETE FROM streams WHERE id = $1", [id]);
    const { removed } = await watching.hear<Update>("update", (update) => update.removed !== undefined);
    expect(removed).toEqual([{ kind: "stream", streamId: id, version: expect.any(Number) }]);
    expect(removed?.[0]?.version).toBeGreaterThan(last);
  });

  it("show figures at most every 2 s, while the history counts every report", async () => {
    const { id, key } = await newStream();
    const watching = await dashboard(`stream:${id}`);
    const client = await media();
    const sessionId = await client.publish(key);
    const before = watching.heard("update").length;
    const startedAt = performance.now();
    let reports = 0;
    let sum = 0;
    while (performance.now() - startedAt < 3000) {
      // Fifty a second, in bursts, as a slow network brings them.
      await Promise.all(
        Array.from({ length: 10 }, () => {
          reports += 1;
          sum += 1000 + reports;
          return client.call("stream:stats", {
            sessionId,
            bitrateKbps: 1000 + reports,
            viewers: reports === 42 ? 500 : 5,
          });
        }),
      );
      await delay(200);
    }
    await client.call("stream:ended", { sessionId });
    const tookMs = performance.now() - startedAt;
    await waitFor(() => watching.statuses().at(-1) === "reconnecting", { what: "the end" });
    const shown = watching
      .heard<Update>("update")
      .flatMap(({ streams = [] }) => streams)
      .filter(({ bitrateKbps }) => bitrateKbps !== null);
    // One at once, one every 2 s, and the last one before the end.
    const most = 2 + Math.floor(tookMs / 2000);
    expect(new Set(shown.map(({ bitrateKbps }) => bitrateKbps)).size).toBeLessThanOrEqual(most);
    expect(watching.heard("update").length - before).toBeLessThanOrEqual(most + 3);
    const [session] = await database.query(
      "SELECT peak_viewers, bitrate_reports, bitrate_sum, mean_bitrate_kbps FROM stream_sessions WHERE stream_id = $1",
      [id],
    );
    expect(session).toEqual({
      peak_viewers: 500,
      bitrate_reports: reports,
      bitrate_sum: sum,
      mean_bitrate_kbps: Math.floor(sum / reports),
    });
  });

  it("may belong to learners, and get not_found for a stream that does not exist", async () => {
    const client = await connect(server.url, "/dashboard", await mintToken("lena"));
    open.push(client);
    expect(await client.call("subscribe", { topic: "streams" })).toMatchObject({ ok: true });
    expect(await client.call("subscribe", { topic: "stream:nowhere" })).toMatchObject({
      ok: false,
      error: { code: "not_found" },
    });
  });

  it("are never told a key", async () => {
    const { id, key } = await newStream();
    const watching = await dashboard("streams");
    const client = await media();
    const sessionId = await client.publish(key);
    await http("POST", `/v1/streams/${id}/revoke`, {});
    await client.dropOf(sessionId);
    await waitFor(() => watching.statuses().includes("revoked"), { what: "the dashboard to see it" });
    const told = JSON.stringify([watching.heard("update"), client.heard("stream:drop")]);
    expect(told).toContain(id);
    expect(told).not.toContain(key);
  });
});

describe("two processes on one database", () => {
  let other: ServerProcess;
  beforeAll(async () => {
    other = await startServerProcess({ env: serverEnv(database, { LOG_LEVEL: "error", ...ENVIRONMENT }) });
  });
  afterAll(async () => {
    expect(await other.stop()).toBe(0);
    expect(other.process.stderr()).toBe("");
  });

  it("refuse a key that was revoked through the other process, and drop its session", async () => {
    const { id, key } = await newStream();
    const there = await media({}, other.url);
    const sessionId = await there.publish(key, "c1");
    await http("POST", `/v1/streams/${id}/revoke`, {});
    expect(await there.validate(key, "c2")).toMatchObject({ valid: false, reason: "revoked" });
    expect(await there.dropOf(sessionId)).toBe("revoked");
  });

  it("give a stream to one encoder, whichever processes the encoders come by", async () => {
    const { key } = await newStream();
    const [here, there] = [await media(), await media({}, other.url)];
    const verdicts = await Promise.all([here, there].flatMap((one) => [one.validate(key), one.validate(key)]));
    expect(verdicts.filter((verdict) => verdict.ok && verdict.valid)).toHaveLength(1);
  });

  it("drop a session of one process when an encoder takes the stream over through the other", async () => {
    const { key } = await newStream({ policy: "takeover" });
    const [here, there] = [await media(), await media({}, other.url)];
    const sessionId = await there.publish(key);
    await here.publish(key);
    expect(await there.dropOf(sessionId)).toBe("taken_over");
  });

  it("let a media server go on with its session through the other process", async () => {
    const { key } = await newStream();
    const name = { server: "wanderer", boot: "b1" };
    const here = await media(name);
    const sessionId = await here.publish(key);
    here.close();
    const there = await media(name, other.url);
    expect(await there.call("stream:stats", { sessionId, viewers: 1 })).toMatchObject({ ok: true });
    expect(await there.call("stream:ended", { sessionId })).toMatchObject({ ok: true });
  });
});
