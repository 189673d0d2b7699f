import { SignJWT, UnsecuredJWT } from "jose";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { putCourse, readMetric } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import {
  type Answer,
  type Client,
  ConnectError,
  type ConnectOptions,
  connect,
  connectRaw,
  connectRawTo,
  type Namespace,
  type RawClient,
} from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Whatever a client sends: it is told what was wrong, nothing is written, and it may go on. The server runs in a
 * process of its own, with the default limits, so that a crash shows as one.
 */

let database: TestDatabase;
let server: ServerProcess;
const open: { close(): void }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startServerProcess({ env: serverEnv(database) });
  await putCourse(server.url, "c1", {
    title: "Course",
    instructorId: "ines",
    lessons: [
      {
        id: "l1",
        title: "One",
        files: [
          { id: "f100", title: "100 s", durationSeconds: 100 },
          { id: "f1000", title: "1000 s", durationSeconds: 1000 },
        ],
      },
    ],
  });
});
afterEach(() => {
  for (const client of open.splice(0)) client.close();
});
afterAll(async () => {
  const code = await server.stop();
  await database.drop();
  expect(code).toBe(0);
  // Level 50 is `error`: what a client did wrong is never one.
  const lines = server.process.stderr().split("\n");
  expect(lines.filter((line) => /"level":[56]0/.test(line)).slice(0, 3)).toEqual([]);
});

let lastUser = 0;
/** A user that no other test knows: limits and rows are its own. */
function newUser(): string {
  lastUser += 1;
  return `user-${lastUser}`;
}

async function player(userId: string, options?: ConnectOptions): Promise<Client> {
  const client = await connect(server.url, "/player", await mintToken(userId), options);
  open.push(client);
  return client;
}

async function raw(namespace: Namespace, userId = newUser()): Promise<RawClient> {
  const client = await connectRawTo(server.url, namespace, await mintToken(userId));
  open.push(client);
  return client;
}

async function rowsOf(userId: string): Promise<unknown[]> {
  return database.query("select file_id, position_ms, watched::text from user_progress where user_id = $1", [userId]);
}

async function expectStillUsable(client: Client): Promise<void> {
  expect(await client.call("progress:get", { fileId: "f100" })).toMatchObject({ ok: true });
}

function errorOf(answer: Answer | undefined) {
  if (answer === undefined || answer.ok) throw new Error(`expected a refusal, got ${JSON.stringify(answer)}`);
  return answer.error;
}

const GOOD = { fileId: "f100", position: 10 };
const LONG = "x".repeat(5000);
const DEEP = "[".repeat(10_000) + "]".repeat(10_000);
const ranges = (count: number) => Array.from({ length: count }, (_, i) => [i / 10, i / 10 + 0.05]);

/** What is wrong, the beat as JSON, and where the error points. */
const BAD_BEATS: [string, string, string][] = [
  ["no file", JSON.stringify({ position: 1 }), "fileId"],
  ["a number for a file", JSON.stringify({ ...GOOD, fileId: 7 }), "fileId"],
  ["an object for a file", JSON.stringify({ ...GOOD, fileId: { id: "f100" } }), "fileId"],
  ["an empty file id", JSON.stringify({ ...GOOD, fileId: "" }), "fileId"],
  ["a file id of 129 characters", JSON.stringify({ ...GOOD, fileId: "x".repeat(129) }), "fileId"],
  ["a file id of 5,000 characters", JSON.stringify({ ...GOOD, fileId: LONG }), "fileId"],
  ["a file id with U+0000", JSON.stringify({ ...GOOD, fileId: "f\u0000" }), "fileId"],
  ["a file id with a lone surrogate", '{"fileId":"f\\ud800","position":1}', "fileId"],
  ["no position", JSON.stringify({ fileId: "f100" }), "position"],
  ["a text for a position", JSON.stringify({ ...GOOD, position: "10" }), "position"],
  ["NaN for a position, which JSON writes as null", JSON.stringify({ ...GOOD, position: Number.NaN }), "position"],
  ["a position past what a double holds", '{"fileId":"f100","position":1e999}', "position"],
  ["true for a position", JSON.stringify({ ...GOOD, position: true }), "position"],
  ["a negative position", JSON.stringify({ ...GOOD, position: -1 }), "position"],
  ["a position more than 5 s past the end", JSON.stringify({ ...GOOD, position: 105.001 }), "position"],
  ["a position more than 1 % past the end", JSON.stringify({ fileId: "f1000", position: 1010.001 }), "position"],
  ["a position 10,000 levels deep", `{"fileId":"f100","position":${DEEP}}`, "position"],
  ["an object for the ranges", JSON.stringify({ ...GOOD, played: { from: 0, to: 5 } }), "played"],
  ["a reversed range", JSON.stringify({ ...GOOD, played: [[5, 3]] }), "played.0"],
  ["a range of one number", JSON.stringify({ ...GOOD, played: [[5]] }), "played.0"],
  ["a range of three numbers", JSON.stringify({ ...GOOD, played: [[1, 2, 3]] }), "played.0"],
  ["a range from NaN", JSON.stringify({ ...GOOD, played: [[Number.NaN, 3]] }), "played.0.0"],
  ["a range from before the start", JSON.stringify({ ...GOOD, played: [[-1, 3]] }), "played.0.0"],
  [
    "a range that ends too far past the end",
    JSON.stringify({
      ...GOOD,
      played: [
        [1, 2],
        [90, 106],
      ],
    }),
    "played.1",
  ],
  ["33 ranges", JSON.stringify({ ...GOOD, played: ranges(33) }), "played"],
  ["1,000 ranges", JSON.stringify({ ...GOOD, played: ranges(1000) }), "played"],
  ["ranges 10,000 levels deep", `{"fileId":"f100","position":1,"played":${DEEP}}`, "played.0"],
  ["an unknown state", JSON.stringify({ ...GOOD, state: "flying" }), "state"],
  ["a negative rate", JSON.stringify({ ...GOOD, rate: -1 }), "rate"],
  ["a rate of 17", JSON.stringify({ ...GOOD, rate: 17 }), "rate"],
  ["an age from the future", JSON.stringify({ ...GOOD, ageMs: -1 }), "ageMs"],
  ["an age of 31 days", JSON.stringify({ ...GOOD, ageMs: 31 * 24 * 3600 * 1000 }), "ageMs"],
  ["a session id of 5,000 characters", JSON.stringify({ ...GOOD, sessionId: LONG }), "sessionId"],
  ["a session id with U+0000", JSON.stringify({ ...GOOD, sessionId: "s\u0000" }), "sessionId"],
  ["half a number", JSON.stringify({ ...GOOD, seq: 1.5 }), "seq"],
  ["a negative number", JSON.stringify({ ...GOOD, seq: -1 }), "seq"],
  ["an epoch past 32 bits", JSON.stringify({ ...GOOD, epoch: 2 ** 31 }), "epoch"],
  ["a text", JSON.stringify("heartbeat"), ""],
  ["null", "null", ""],
  ["an array", "[]", ""],
  ["nothing but 10,000 levels", DEEP, ""],
];

describe("a heartbeat that is", () => {
  it.each(BAD_BEATS)("%s is refused, told where it is wrong, and not written", async (_, beat, path) => {
    const userId = newUser();
    const client = await raw("/player", userId);
    const error = errorOf(await client.callRaw("/player", `["heartbeat",${beat}]`));
    expect(error).toMatchObject({ code: "bad_request" });
    expect(error.issues?.[0]?.path).toBe(path);
    expect(error.issues?.length).toBeLessThanOrEqual(8);
    expect(error.message.length).toBeLessThan(1000);
    expect(await rowsOf(userId)).toEqual([]);
    expect(await client.callRaw("/player", JSON.stringify(["heartbeat", GOOD]))).toMatchObject({ ok: true });
    expect(await rowsOf(userId)).toMatchObject([{ position_ms: 10_000 }]);
  });

  it.each(BAD_BEATS)("%s is refused over HTTP as well, and keeps back no other beat", async (_, beat, path) => {
    const userId = newUser();
    const { status, body } = await post(`{"beats":[${beat},${JSON.stringify(GOOD)}]}`, await mintToken(userId));
    expect(status).toBe(200);
    expect(body.results).toMatchObject([{ ok: false, error: { code: "bad_request" } }, { ok: true }]);
    expect(body.results[0].error.issues[0].path).toBe(path);
    expect(await rowsOf(userId)).toMatchObject([{ file_id: "f100", position_ms: 10_000 }]);
  });

  it("a little past the end is clamped to it: encoders disagree about where that is", async () => {
    const userId = newUser();
    const client = await player(userId);
    expect(await client.call("heartbeat", { fileId: "f100", position: 105, played: [[95, 104]] })).toMatchObject({
      ok: true,
      progress: { position: 100, watched: [[95, 100]] },
    });
    expect(await client.call("heartbeat", { fileId: "f1000", position: 1010 })).toMatchObject({
      ok: true,
      progress: { position: 1000 },
    });
  });

  it("of a file that the catalogue does not know is refused as unknown_file, by every way in", async () => {
    const userId = newUser();
    const client = await player(userId);
    const beat = { fileId: "nowhere", position: 1 };
    expect(errorOf(await client.call("heartbeat", beat))).toMatchObject({ code: "unknown_file" });
    expect(errorOf(await client.call("progress:get", { fileId: "nowhere" }))).toMatchObject({ code: "unknown_file" });
    expect(errorOf(await client.call("progress:reset", { fileId: "nowhere" }))).toMatchObject({ code: "unknown_file" });
    expect(errorOf(await client.call("progress:get", { courseId: "nowhere" }))).toMatchObject({ code: "not_found" });
    const { body } = await post(JSON.stringify({ beats: [beat] }), await mintToken(userId));
    expect(body.results).toMatchObject([{ ok: false, error: { code: "unknown_file" } }]);
    expect(await rowsOf(userId)).toEqual([]);
    await expectStillUsable(client);
  });

  it("one bad of three is refused alone", async () => {
    const userId = newUser();
    const client = await player(userId);
    const answer = await client.call("heartbeats", {
      beats: [GOOD, { ...GOOD, position: -1 }, { ...GOOD, position: 12 }],
    });
    expect(answer).toMatchObject({
      ok: true,
      results: [{ ok: true }, { ok: false, error: { code: "bad_request" } }, { ok: true }],
    });
    expect(await rowsOf(userId)).toHaveLength(1);
  });
});

describe("the frame of a heartbeat", () => {
  it.each([
    ["whole", '{"fileId":"f100","position":3,"played":[[0,3]],"seq":1,"sessionId":"frames"}'],
    ["with what is unknown", '{"fileId":"f100","position":3,"é":"😀","__proto__":{"position":5}}'],
    ["of no file", '{"fileId":"nothing","position":3}'],
    ["past the end", '{"fileId":"f100","position":3000}'],
    ["of no form", '{"fileId":7}'],
    ["of null", "null"],
    ["of an array", "[]"],
  ])("%s is answered alike, read directly or by Socket.IO", async (_what, payload) => {
    const answerTo = async (args: string) => {
      const answer = await (await raw("/player")).callRaw("/player", args);
      return JSON.parse(
        JSON.stringify(answer, (key, value) => (["version", "userId", "lastWatched"].includes(key) ? key : value)),
      );
    };
    // A blank that Socket.IO never writes is read by Socket.IO alone.
    expect(await answerTo(`["heartbeat",${payload}]`)).toEqual(await answerTo(`[ "heartbeat",${payload}]`));
  });
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
    const client = await player(userId);
    expect(errorOf(await client.call(event, payload))).toMatchObject({ code: "bad_request" });
    expect(await rowsOf(userId)).toEqual([]);
    await expectStillUsable(client);
  });

  it.each(["nonsense", "subscribe", "__proto__", "constructor", "error", LONG])(
    "that a player does not have is refused, with those it has (%#)",
    async (event) => {
      const client = await player(newUser());
      const error = errorOf(await client.call(event, GOOD));
      expect(error).toMatchObject({ code: "bad_request", message: expect.stringContaining("heartbeat, heartbeats") });
      expect(error.message.length).toBeLessThan(500);
      await expectStillUsable(client);
    },
  );

  it.each(["5", "-1", "0.5", "1e300"])("whose name is the number %s is refused like any unknown one", async (name) => {
    const client = await raw("/player");
    expect(errorOf(await client.callRaw("/player", `[${name},{}]`))).toMatchObject({ code: "bad_request" });
    client.send(`42/player,[${name}]`);
    await client.hear((frame) => frame.startsWith('42/player,["problem"'));
    expect(await client.callRaw("/player", '["progress:get",{"fileId":"f100"}]')).toMatchObject({ ok: true });
  });

  it("without a payload is refused", async () => {
    const client = await player(newUser());
    expect(errorOf(await client.call("heartbeat"))).toMatchObject({ code: "bad_request" });
    await expectStillUsable(client);
  });

  it("without an ack function changes nothing, and an event says what is missing", async () => {
    const userId = newUser();
    const client = await player(userId);
    client.socket.emit("heartbeat", GOOD);
    expect(await client.hear("problem")).toMatchObject({ event: "heartbeat", error: { code: "bad_request" } });
    client.socket.emit("nonsense");
    expect(await client.hear("problem", ({ event }: { event: string }) => event === "nonsense")).toBeDefined();
    client.socket.emit("heartbeat");
    await expectStillUsable(client);
    expect(await rowsOf(userId)).toEqual([]);
  });

  it("with more arguments than it takes is served by the first", async () => {
    const userId = newUser();
    const client = await player(userId);
    expect(await client.call("heartbeat", GOOD, { ...GOOD, position: 50 }, "more")).toMatchObject({
      ok: true,
      progress: { position: 10 },
    });
    expect(await rowsOf(userId)).toMatchObject([{ position_ms: 10_000 }]);
  });
});

describe("what is no packet of ours", () => {
  it.each<[string, string | Uint8Array]>([
    ["raw NaN, which is no JSON", '42/player,1["heartbeat",{"fileId":"f100","position":NaN}]'],
    ["half a packet", '42/player,1["heartbeat",{"fileId":'],
    ["a packet type that is none", "49"],
    ["an event without a name", "42/player,1[]"],
    ["an event whose name is an object", '42/player,1[{"toString":1}]'],
    ["a reserved event", '42/player,1["disconnect"]'],
    ["a packet that announces attachments", '451-/player,1["heartbeat",{"_placeholder":true,"num":0}]'],
    ["a binary frame", Buffer.from([1, 2, 3, 4])],
    ["a second connect", '40/player,{"token":"x"}'],
    ["an engine packet that is none", "9"],
  ])("%s ends its own socket and no other", async (_, frame) => {
    const other = await raw("/player");
    const client = await raw("/player");
    client.send(frame);
    await client.closed;
    expect(await other.callRaw("/player", JSON.stringify(["heartbeat", GOOD]))).toMatchObject({ ok: true });
  });

  it("a frame over 64 KB closes its socket without a word; it is counted, and nobody else notices", async () => {
    const other = await raw("/player");
    const client = await raw("/player");
    const before = await readMetric(server.url, "playhead_oversized_frames_total");
    client.send(`42/player,1${JSON.stringify(["heartbeat", { ...GOOD, padding: "x".repeat(65_536) }])}`);
    expect(await client.closed).toBe(1006);
    await waitFor(async () => (await readMetric(server.url, "playhead_oversized_frames_total")) === before + 1, {
      what: "the frame to be counted",
    });
    expect(await other.callRaw("/player", JSON.stringify(["heartbeat", GOOD]))).toMatchObject({ ok: true });
  });

  it("a frame of exactly 64 KB is taken", async () => {
    const client = await raw("/player");
    const frame = (padding: string) => `42/player,7${JSON.stringify(["heartbeat", { ...GOOD, padding }])}`;
    client.send(frame("x".repeat(65_536 - frame("").length)));
    expect(await client.hear((text) => text.startsWith("43/player,7"))).toContain('"ok":true');
  });
});

describe("a token", () => {
  const hour = () => Math.floor(Date.now() / 1000) + 3600;
  const claims = { role: "admin", sub: "mallory", iss: "playhead" };
  const sign = (payload: Record<string, unknown>, secret: string) =>
    new SignJWT({ ...claims, exp: hour(), ...payload })
      .setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(secret));
  const secret = serverEnv({ url: "" } as TestDatabase).AUTH_SECRET as string;
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

  const BAD_TOKENS: [string, () => unknown][] = [
    ["missing", () => undefined],
    ["empty", () => ""],
    ["a number", () => 5],
    ["an object", () => ({ toString: 1 })],
    ["no JWT", () => "nonsense"],
    ["of 5,000 characters", () => LONG],
    ["expired", () => sign({ exp: hour() - 3601 }, secret)],
    ["without an end", () => sign({ exp: undefined }, secret)],
    ["signed with another secret", () => sign({}, "another secret of forty characters, 1234")],
    ["of another issuer", () => sign({ iss: "someone" }, secret)],
    ["of a role that is none", () => sign({ role: "god" }, secret)],
    ["of a role that is an array", () => sign({ role: ["admin"] }, secret)],
    ["without a subject", () => sign({ sub: undefined }, secret)],
    ["of a subject of 129 characters", () => sign({ sub: "x".repeat(129) }, secret)],
    ["of a subject with U+0000", () => sign({ sub: "a\u0000" }, secret)],
    ["unsigned (alg none)", () => new UnsecuredJWT(claims).setExpirationTime(hour()).encode()],
    ["unsigned, with alg NONE in capitals", () => `${part({ alg: "NONE" })}.${part({ ...claims, exp: hour() })}.`],
    [
      "altered after it was signed",
      async () => {
        const [header, , signature] = (await mintToken("alice")).split(".");
        return `${header}.${part({ ...claims, exp: hour() })}.${signature}`;
      },
    ],
  ];

  describe.each<Namespace>(["/player", "/dashboard"])("of %s that is", (namespace) => {
    it.each(BAD_TOKENS)("%s is refused as unauthenticated", async (_, make) => {
      const token = (await make()) as string;
      const failure = await connect(server.url, namespace, token).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(ConnectError);
      expect((failure as ConnectError).data).toMatchObject({ code: "unauthenticated" });
      if (typeof token === "string" && token !== "") expect((failure as ConnectError).message).not.toContain(token);
    });
  });

  it.each(BAD_TOKENS)("over HTTP that is %s is refused as unauthenticated", async (_, make) => {
    const token = await make();
    const { status, body } = await post(JSON.stringify({ beats: [GOOD], token }));
    expect(status).toBe(401);
    expect(body).toMatchObject({ code: "unauthenticated", status: 401 });
    expect(await rowsOf("mallory")).toEqual([]);
  });

  it("brought to token:refresh is checked like the first; the one before goes on", async () => {
    const client = await player(newUser());
    const token = await sign({}, "another secret of forty characters, 1234");
    expect(errorOf(await client.call("token:refresh", { token }))).toMatchObject({ code: "unauthenticated" });
    await expectStillUsable(client);
  });
});

describe("the namespace that has nothing in it", () => {
  it("takes nobody, with a token or without", async () => {
    const failure = await connect(server.url, "/", await mintToken("alice")).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ConnectError);
    expect((failure as ConnectError).data).toMatchObject({ code: "not_found" });
  });
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
  ])("that has no form of ours is refused (%#)", async (topic) => {
    const client = await connect(server.url, "/dashboard", await mintToken("root", "admin"));
    open.push(client);
    expect(errorOf(await client.call("subscribe", { topic }))).toMatchObject({ code: "bad_request" });
    expect(errorOf(await client.call("unsubscribe", { topic }))).toMatchObject({ code: "bad_request" });
    expect(await client.call("subscribe", { topic: "streams" })).toMatchObject({ ok: true });
  });

  it("of another user is forbidden", async () => {
    const client = await connect(server.url, "/dashboard", await mintToken(newUser()));
    open.push(client);
    expect(errorOf(await client.call("subscribe", { topic: "user:alice" }))).toMatchObject({ code: "forbidden" });
    expect(errorOf(await client.call("subscribe", { topic: "course:c1" }))).toMatchObject({ code: "forbidden" });
  });

  it("is refused past a hundred of them on one connection", async () => {
    const client = await connect(server.url, "/dashboard", await mintToken("root-of-many", "admin"));
    open.push(client);
    const topics = Array.from({ length: 101 }, (_, i) => `user:of-many-${i}`);
    const answers = await Promise.all(topics.map((topic) => client.call("subscribe", { topic })));
    expect(answers.filter((answer) => answer.ok)).toHaveLength(100);
    expect(errorOf(answers.at(-1))).toMatchObject({ code: "bad_request" });
    await client.call("unsubscribe", { topic: "user:of-many-0" });
    expect(await client.call("subscribe", { topic: "user:of-many-100" })).toMatchObject({ ok: true });
  });
});

describe("a flood", () => {
  it("of heartbeats is refused past a burst of 200, says when to come back, and costs no other user anything", async () => {
    const userId = newUser();
    const [first, second, other] = await Promise.all([player(userId), player(userId), player(newUser())]);
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        (i % 2 === 0 ? first : second).call("heartbeat", { ...GOOD, seq: i, sessionId: "flood" }),
      ),
    );
    const refused = answers.filter((answer) => !answer.ok).map((answer) => errorOf(answer));
    // The bucket fills by 20 a second meanwhile.
    expect(refused.length).toBeGreaterThan(50);
    expect(refused.length).toBeLessThanOrEqual(100);
    for (const error of refused) {
      expect(error.code).toBe("rate_limited");
      expect(error.retryAfterMs).toBeGreaterThan(0);
    }
    expect(await other.call("heartbeat", GOOD)).toMatchObject({ ok: true });
    expect(await rowsOf(userId)).toHaveLength(1);
    expect(
      await readMetric(server.url, "playhead_socket_calls_total", 'outcome="rate_limited"'),
    ).toBeGreaterThanOrEqual(refused.length);
  });

  it("that goes on after it was told to wait ends its connection", async () => {
    const client = await raw("/player");
    for (let i = 0; i < 3000; i++) client.send(`42/player,${100_000 + i}["progress:get",{"fileId":"f100"}]`);
    await client.closed;
  });

  it("of events without an ack is bounded as well", async () => {
    const client = await raw("/player");
    for (let i = 0; i < 3000; i++) client.send('42/player,["heartbeat"]');
    await client.closed;
    expect(client.frames.filter((frame) => frame.includes('"problem"')).length).toBeLessThan(300);
  });

  it("of requests is refused over HTTP", async () => {
    const token = await mintToken(newUser());
    const answers = await Promise.all(
      Array.from({ length: 230 }, () => post(JSON.stringify({ beats: [GOOD] }), token)),
    );
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused).toHaveLength(30);
    expect(refused[0]?.body).toMatchObject({ code: "rate_limited", retryAfterMs: expect.any(Number) });
    expect(Number(refused[0]?.headers.get("retry-after"))).toBeGreaterThan(0);
  });
});

describe("a page of another origin", () => {
  it.each(["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"])(
    "(%s) may not connect",
    async (origin) => {
      await expect(connectRaw(server.url, { headers: { origin } })).rejects.toThrow("403");
      const response = await fetch(`${server.url}/v1/heartbeats`, {
        method: "POST",
        headers: { origin, authorization: `Bearer ${await mintToken("alice")}` },
        body: JSON.stringify({ beats: [GOOD] }),
      });
      expect(response.status).toBe(403);
    },
  );

  it("whose name begins with ours may not either", async () => {
    await expect(connectRaw(server.url, { headers: { origin: `${server.url}.evil.example` } })).rejects.toThrow("403");
  });

  it("may, when it is our own page", async () => {
    open.push(await connectRaw(server.url, { headers: { origin: server.url } }));
  });
});

describe("the body of POST /v1/heartbeats", () => {
  it.each([
    ["no JSON", "{", 400],
    ["raw NaN", '{"beats":[{"fileId":"f100","position":NaN}]}', 400],
    ["nothing", "", 400],
    ["null", "null", 400],
    ["without beats", "{}", 400],
    ["without a beat", '{"beats":[]}', 400],
    ["101 beats", JSON.stringify({ beats: Array.from({ length: 101 }, () => GOOD) }), 400],
    ["10,000 levels deep", DEEP, 400],
    ["longer than the server takes", JSON.stringify({ beats: [GOOD], padding: "x".repeat(3_000_000) }), 413],
  ])("that is %s is refused, and nothing is written", async (_, body, status) => {
    const userId = newUser();
    const answer = await post(body, await mintToken(userId));
    expect(answer).toMatchObject({ status, body: { status, code: "bad_request" } });
    expect(answer.headers.get("content-type")).toContain("application/problem+json");
    expect(await rowsOf(userId)).toEqual([]);
  });
});

async function post(body: string, token?: string) {
  const response = await fetch(`${server.url}/v1/heartbeats`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body,
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}
