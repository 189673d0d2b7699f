import { describe, expect, it } from "vitest";
import {
  type BadInputServer,
  errorOf,
  expectStillUsable,
  GOOD,
  LONG,
  newUser,
  useBadInputServer,
} from "../helpers/bad-input-server.ts";
import { readMetric } from "../helpers/server-calls.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Bad calls, packets and topics, and too many of them: the client is told why, and no other client notices.
 */

let server: BadInputServer;

useBadInputServer((started) => {
  server = started;
});

describe("a call", () => {
  it.each([
    ["heartbeats without beats", "heartbeats", {}],
    ["heartbeats with none", "heartbeats", { beats: [] }],
    ["heartbeats with 101", "heartbeats", { beats: Array.from({ length: 101 }, () => GOOD) }],
    ["progress:get of a file and a course at once", "progress:get", { fileId: "f100", courseId: "c1" }],
    ["progress:get of nothing", "progress:get", {}],
    ["progress:reset of a number", "progress:reset", { fileId: 5 }],
    ["token:refresh without a token", "token:refresh", {}],
    ["token:refresh with a token of 10,000 characters", "token:refresh", { token: "x".repeat(10_000) }],
  ])("%s is refused", async (_, event, payload) => {
    const userId = newUser();
    const client = await server.player(userId);
    expect(errorOf(await client.call(event, payload))).toMatchObject({ code: "bad_request" });
    expect(await server.rowsOf(userId)).toEqual([]);
    await expectStillUsable(client);
  });

  it.each(["nonsense", "subscribe", "__proto__", "constructor", "error", LONG])(
    "that players do not have is refused, and the answer lists those they have (%#)",
    async (event) => {
      const client = await server.player(newUser());
      const error = errorOf(await client.call(event, GOOD));
      expect(error).toMatchObject({ code: "bad_request", message: expect.stringContaining("heartbeat, heartbeats") });
      expect(error.message.length).toBeLessThan(500);
      await expectStillUsable(client);
    },
  );

  it.each(["5", "-1", "0.5", "1e300"])("whose name is the number %s is refused like any unknown call", async (name) => {
    const client = await server.raw("/player");
    expect(errorOf(await client.callRaw("/player", `[${name},{}]`))).toMatchObject({ code: "bad_request" });
    client.send(`42/player,[${name}]`);
    await client.hear((frame) => frame.startsWith('42/player,["problem"'));
    expect(await client.callRaw("/player", '["progress:get",{"fileId":"f100"}]')).toMatchObject({ ok: true });
  });

  it("without a payload is refused", async () => {
    const client = await server.player(newUser());
    expect(errorOf(await client.call("heartbeat"))).toMatchObject({ code: "bad_request" });
    await expectStillUsable(client);
  });

  it("without an ack function changes nothing, and the event `problem` says so", async () => {
    const userId = newUser();
    const client = await server.player(userId);
    client.socket.emit("heartbeat", GOOD);
    expect(await client.hear("problem")).toMatchObject({ event: "heartbeat", error: { code: "bad_request" } });
    client.socket.emit("nonsense");
    expect(await client.hear("problem", ({ event }: { event: string }) => event === "nonsense")).toBeDefined();
    client.socket.emit("heartbeat");
    await expectStillUsable(client);
    expect(await server.rowsOf(userId)).toEqual([]);
  });

  it("with too many arguments is served by the first of them", async () => {
    const userId = newUser();
    const client = await server.player(userId);
    expect(await client.call("heartbeat", GOOD, { ...GOOD, position: 50 }, "more")).toMatchObject({
      ok: true,
      progress: { position: 10 },
    });
    expect(await server.rowsOf(userId)).toMatchObject([{ position_ms: 10_000 }]);
  });
});

describe("a bad packet", () => {
  it.each<[string, string | Uint8Array]>([
    ["NaN, which is no JSON", '42/player,1["heartbeat",{"fileId":"f100","position":NaN}]'],
    ["half a packet", '42/player,1["heartbeat",{"fileId":'],
    ["a packet type that is none", "49"],
    ["an event without a name", "42/player,1[]"],
    ["an event whose name is an object", '42/player,1[{"toString":1}]'],
    ["a reserved event", '42/player,1["disconnect"]'],
    ["a packet that announces attachments", '451-/player,1["heartbeat",{"_placeholder":true,"num":0}]'],
    ["a binary frame", Buffer.from([1, 2, 3, 4])],
    ["a second connect", '40/player,{"token":"x"}'],
    ["an engine packet that is none", "9"],
  ])("(%s) ends its own socket and no other", async (_, frame) => {
    const other = await server.raw("/player");
    const client = await server.raw("/player");
    client.send(frame);
    await client.closed;
    expect(await other.callRaw("/player", JSON.stringify(["heartbeat", GOOD]))).toMatchObject({ ok: true });
  });

  it("of more than 64 KB ends its own socket and is counted", async () => {
    const other = await server.raw("/player");
    const client = await server.raw("/player");
    const before = await readMetric(server.url, "playhead_oversized_frames_total");
    client.send(`42/player,1${JSON.stringify(["heartbeat", { ...GOOD, padding: "x".repeat(65_536) }])}`);
    expect(await client.closed).toBe(1006);
    await waitFor(async () => (await readMetric(server.url, "playhead_oversized_frames_total")) === before + 1, {
      what: "the frame to be counted",
    });
    expect(await other.callRaw("/player", JSON.stringify(["heartbeat", GOOD]))).toMatchObject({ ok: true });
  });
});

it("a frame of exactly 64 KB is accepted", async () => {
  const client = await server.raw("/player");
  const frame = (padding: string) => `42/player,7${JSON.stringify(["heartbeat", { ...GOOD, padding }])}`;
  client.send(frame("x".repeat(65_536 - frame("").length)));
  expect(await client.hear((text) => text.startsWith("43/player,7"))).toContain('"ok":true');
});

describe("a topic", () => {
  it.each([
    "",
    "nonsense",
    "user:",
    "user",
    ":",
    "rtmp:c1",
    "__proto__:x",
    `user:${"x".repeat(129)}`,
    `course:${LONG}`,
    "user:a\u0000",
    "user:\ud800",
  ])("that does not exist is refused, and the connection goes on (%#)", async (topic) => {
    const client = await server.dashboard("root", "admin");
    expect(errorOf(await client.call("subscribe", { topic }))).toMatchObject({ code: "bad_request" });
    expect(errorOf(await client.call("unsubscribe", { topic }))).toMatchObject({ code: "bad_request" });
    expect(await client.call("subscribe", { topic: "streams" })).toMatchObject({ ok: true });
  });

  it("of another user, or of a course, is forbidden to a learner", async () => {
    const client = await server.dashboard(newUser(), "learner");
    expect(errorOf(await client.call("subscribe", { topic: "user:alice" }))).toMatchObject({ code: "forbidden" });
    expect(errorOf(await client.call("subscribe", { topic: "course:c1" }))).toMatchObject({ code: "forbidden" });
  });

  it("is refused to a connection that has a hundred", async () => {
    const client = await server.dashboard("root-of-many", "admin");
    const topics = Array.from({ length: 101 }, (_, i) => `user:of-many-${i}`);
    const answers = await Promise.all(topics.map((topic) => client.call("subscribe", { topic })));
    expect(answers.filter((answer) => answer.ok)).toHaveLength(100);
    expect(errorOf(answers.at(-1))).toMatchObject({ code: "bad_request" });
    await client.call("unsubscribe", { topic: "user:of-many-0" });
    expect(await client.call("subscribe", { topic: "user:of-many-100" })).toMatchObject({ ok: true });
  });
});

describe("a flood", () => {
  it("of heartbeats is refused past a burst of 200 with a time to wait, and no other user is refused", async () => {
    const userId = newUser();
    const [first, second, other] = await Promise.all([
      server.player(userId),
      server.player(userId),
      server.player(newUser()),
    ]);
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        (i % 2 === 0 ? first : second).call("heartbeat", { ...GOOD, seq: i, sessionId: "flood" }),
      ),
    );
    const refused = answers.filter((answer) => !answer.ok).map((answer) => errorOf(answer));
    // A slow run is allowed 20 more in each second.
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThanOrEqual(100);
    for (const error of refused) {
      expect(error.code).toBe("rate_limited");
      expect(error.retryAfterMs).toBeGreaterThan(0);
    }
    expect(await other.call("heartbeat", GOOD)).toMatchObject({ ok: true });
    expect(await server.rowsOf(userId)).toHaveLength(1);
    expect(
      await readMetric(server.url, "playhead_socket_calls_total", 'outcome="rate_limited"'),
    ).toBeGreaterThanOrEqual(refused.length);
  });

  it("of batches is counted by beats, not by calls", async () => {
    const client = await server.player(newUser());
    const beats = Array.from({ length: 100 }, (_, i) => ({ ...GOOD, seq: i, sessionId: "flood" }));
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.call("heartbeats", { beats })));
    expect(answers.map((answer) => answer.ok)).toEqual([true, true, false, false, false]);
    expect(errorOf(answers[4])).toMatchObject({ code: "rate_limited", retryAfterMs: expect.any(Number) });

    const token = await mintToken(newUser());
    const posts = await Promise.all(Array.from({ length: 3 }, () => server.post(JSON.stringify({ beats }), token)));
    expect(posts.map(({ status }) => status).sort()).toEqual([200, 200, 429]);
  });

  it("that goes on after many refusals ends its connection", async () => {
    const client = await server.raw("/player");
    for (let i = 0; i < 3000; i++) client.send(`42/player,${100_000 + i}["progress:get",{"fileId":"f100"}]`);
    await client.closed;
  });

  it("of events without an ack function ends its connection too", async () => {
    const client = await server.raw("/player");
    for (let i = 0; i < 3000; i++) client.send('42/player,["heartbeat"]');
    await client.closed;
    expect(client.frames.filter((frame) => frame.includes('"problem"')).length).toBeLessThan(300);
  });

  it("of HTTP requests is refused past 200 with a time to wait", async () => {
    const token = await mintToken(newUser());
    const answers = await Promise.all(
      Array.from({ length: 230 }, () => server.post(JSON.stringify({ beats: [GOOD] }), token)),
    );
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused).toHaveLength(30);
    expect(refused[0]?.body).toMatchObject({ code: "rate_limited", retryAfterMs: expect.any(Number) });
    expect(Number(refused[0]?.headers.get("retry-after"))).toBeGreaterThan(0);
  });
});
