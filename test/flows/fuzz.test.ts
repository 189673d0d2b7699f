import { connect as connectTcp } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { makeFrame } from "../helpers/frame-mutations.ts";
import { type ObservedServer, observeServer } from "../helpers/observed-server-process.ts";
import { createRandom } from "../helpers/random.ts";
import { putCourse, readMetric } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import {
  type Client,
  connect,
  connectRaw,
  connectRawTo,
  type Namespace,
  type RawClient,
} from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Frames that no client library sends. The server does not crash, other sockets get their acks, and the server keeps
 * nothing for sockets that are gone. FUZZ_SEED chooses another run, FUZZ_FRAMES a longer one.
 */

const SEED = Number(process.env.FUZZ_SEED ?? 42);
const FRAMES = Number(process.env.FUZZ_FRAMES ?? 10_000);
const FRAMES_A_CONNECTION = 5;
const WORKERS = 8;
const MEGABYTE = 2 ** 20;
const NAMESPACES: Namespace[] = ["/player", "/dashboard"];

let database: TestDatabase;
let server: ObservedServer;
let witness: Client;
let tokens: Record<Namespace, string>;

beforeAll(async () => {
  database = await createTestDatabase();
  const limits = { RATE_LIMIT_BURST: "1000000", RATE_LIMIT_PER_SECOND: "1000000", MAX_CONNECTIONS_PER_USER: "100000" };
  server = await observeServer(serverEnv(database, { LOG_LEVEL: "error", ...limits }));
  await putCourse(server.url, "c1", {
    title: "Course",
    lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "File", durationSeconds: 100 }] }],
  });
  tokens = { "/player": await mintToken("fuzzer"), "/dashboard": await mintToken("fuzzing-admin", "admin") };
  witness = await connect(server.url, "/player", await mintToken("witness"));
});
afterAll(async () => {
  witness.close();
  expect(await server.stop()).toBe(0);
  expect(server.stderr()).toBe("");
  await database.drop();
});

/** A client that behaves still gets its acks. */
async function expectWitnessed(): Promise<void> {
  expect(server.alive()).toBe(true);
  expect(await witness.call("heartbeat", { fileId: "f1", position: 10 })).toMatchObject({ ok: true });
}

async function expectNobodyLeft(): Promise<void> {
  await waitFor(async () => (await readMetric(server.url, "playhead_sockets")) === 1, {
    what: "the server to have no socket but one",
    timeoutMs: 30_000,
  });
}

/** Opens a connection, sends the frames, and waits until the server has read them all or ended the connection. */
async function sendAll(frames: (string | Uint8Array)[], admitTo: Namespace | null): Promise<"open" | "closed"> {
  const client = await connectRaw(server.url);
  if (admitTo !== null) {
    client.send(`40${admitTo},${JSON.stringify({ token: tokens[admitTo] })}`);
    await client.hear((frame) => frame.startsWith("40"));
  }
  for (const frame of frames) client.send(frame);
  return await settle(client, admitTo);
}

async function settle(client: RawClient, namespace: Namespace | null): Promise<"open" | "closed"> {
  // Before admission there is no call to make, but a connect to an unknown namespace is always answered.
  client.send(namespace === null ? "40/the-end," : `42${namespace},424242["the-end"]`);
  const mark = namespace === null ? "44/the-end," : `43${namespace},424242[`;
  const outcome = await Promise.race([
    client.closed.then(() => "closed" as const),
    waitFor(() => client.ws.readyState === client.ws.CLOSED || client.frames.some((frame) => frame.startsWith(mark)), {
      what: "an answer or an end",
      timeoutMs: 30_000,
    }).then(() => "open" as const),
  ]);
  const isOpen = outcome === "open" && client.ws.readyState === client.ws.OPEN;
  client.close();
  await client.closed;
  return isOpen ? "open" : "closed";
}

it(`${FRAMES} mutated frames neither crash the server nor cost it memory (FUZZ_SEED=${SEED})`, async () => {
  const outcomes = { open: 0, closed: 0 };
  async function fuzz(seed: number, frames: number): Promise<void> {
    const random = createRandom(seed);
    for (let sent = 0; sent < frames; sent += FRAMES_A_CONNECTION) {
      const namespace = random.pick(NAMESPACES);
      const batch = Array.from({ length: FRAMES_A_CONNECTION }, () => makeFrame(random, namespace));
      outcomes[await sendAll(batch, random.chance(0.9) ? namespace : null)] += 1;
    }
  }
  const run = (seed: number, frames: number) =>
    Promise.all(Array.from({ length: WORKERS }, (_, i) => fuzz(seed * 1000 + i, frames / WORKERS)));

  await run(SEED + 1, FRAMES / 10);
  await expectNobodyLeft();
  const before = await server.observe();
  let fuzzing = true;
  const all = run(SEED, FRAMES).finally(() => {
    fuzzing = false;
  });
  while (fuzzing) await expectWitnessed();
  await all;
  await expectNobodyLeft();
  await expectWitnessed();
  const after = await server.observe();
  expect(after.polluted).toBe(false);
  expect(after.heapBytes - before.heapBytes).toBeLessThan(8 * MEGABYTE);
  expect(after.rssBytes - before.rssBytes).toBeLessThan(64 * MEGABYTE);
  // The frames reached more than the parser: many connections survived all of theirs.
  expect(outcomes.open).toBeGreaterThan(outcomes.closed / 4);
  expect(await database.query("select * from playhead_check_course('c1')")).toEqual([]);
});

describe("a known attack on Socket.IO", () => {
  const deep = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
  const SEEDS: [string, (string | Uint8Array)[]][] = [
    [
      "CVE-2022-2421, a placeholder that names a function",
      ['451-["hello",{"_placeholder":true,"num":"splice"}]', Buffer.from([1])],
    ],
    ["CVE-2022-2421, a placeholder out of range", ['451-["hello",{"_placeholder":true,"num":99}]', Buffer.from([1])]],
    ["CVE-2022-2421 in a namespace", ['451-/player,["hello",{"_placeholder":true,"num":"splice"}]', Buffer.from([1])]],
    ["CVE-2023-32695, an event named by an object", ['42[{"toString":"foo"}]']],
    ["CVE-2023-32695, in a namespace", ['42/player,[{"toString":"foo"}]', '42/dashboard,[{"toString":"foo"}]']],
    ["an event named by a number", ["42/player,[5]", "42/dashboard,[5]", "42/player,1[5]"]],
    ["an event named by nothing", ["42/player,[null]", "42/dashboard,[[]]", "42/player,[]"]],
    ["the reserved event connect", ['42/player,["connect"]', '42/dashboard,["connect"]']],
    ["the reserved event disconnect", ['42/player,["disconnect"]', '42/dashboard,["disconnect"]']],
    ["the event error", ['42/player,["error",{}]', '42/dashboard,["error",{}]']],
    ["the event newListener", ['42/player,["newListener",5]', '42/dashboard,["newListener",5]']],
    ["CVE-2020-36049, a huge number of attachments", [`45${"9".repeat(60_000)}-["x"]`]],
    ["CVE-2026-33151, unbounded attachments", ['45999999999-["x"]', '45999999999-/player,["x"]']],
    ["CVE-2026-69185, no attachments", ['450-["x"]', '450-/player,["x"]']],
    ["nine of ten attachments", ['4510-/player,["x"]', ...Array.from({ length: 9 }, () => new Uint8Array(60_000))]],
    ["a binary ack", ['461-/player,1[{"_placeholder":true,"num":0}]', Buffer.from([1])]],
    ["__proto__ as an event", ['42/player,["__proto__",{"__proto__":{"polluted":1}}]']],
    ["__proto__ in a payload", ['42/player,1["heartbeat",{"__proto__":{"polluted":1},"fileId":"f1","position":1}]']],
    ["__proto__ in the auth", ['40/player,{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}']],
    ["__proto__ as a namespace", ["40/__proto__,{}", "40__proto__,", '42/__proto__,["x"]']],
    ["a namespace of 60 KB", [`40/${"x".repeat(60_000)},`]],
    ["a thousand namespaces", Array.from({ length: 1000 }, (_, i) => `40/n${i},`)],
    ["a thousand connects at once", Array.from({ length: 1000 }, () => '40/player,{"token":"x"}')],
    ["30,000 levels", [`42/player,1["heartbeat",${deep(30_000)}]`, `42/dashboard,1["subscribe",${deep(30_000)}]`]],
    ["30,000 levels as the event", [`42/player,${deep(30_000)}`]],
    ["30,000 levels as the auth", [`40/player,${deep(30_000)}`]],
    ["30,000 levels as an ack", [`43/player,1${deep(30_000)}`]],
    ["an ack nobody waits for", ["43/player,999[]", "43/dashboard,999[]"]],
    ["an ack id past what a number holds", [`42/player,${"9".repeat(400)}["progress:get",{"fileId":"f1"}]`]],
    ["a disconnect", ["41/player,", "41/dashboard,", "41"]],
    ["a connect error from the client", ['44/player,{"message":"x"}', '44/dashboard,{"message":"x"}']],
    ["an empty frame", [""]],
    ["an empty binary frame", [new Uint8Array(0)]],
    ["a ping the wrong way round", ["2", "2probe", "3probe", "5", "6"]],
    ["an open packet from the client", ['0{"sid":"x"}']],
    ["a close packet", ["1"]],
    ["many packets in one frame", [Array.from({ length: 5000 }, () => "42/player,").join("\u001e")]],
    ["bytes that are no UTF-8, as binary", [Buffer.from([0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80])]],
  ];

  it.each(SEEDS)("(%s) has no effect, before admission and after", async (_, frames) => {
    for (const admitTo of [null, ...NAMESPACES]) await sendAll(frames, admitTo);
    await expectWitnessed();
    expect((await server.observe()).polluted).toBe(false);
  });

  it("by 500 sockets that announce attachments costs no memory: each is ended, whether attachments come or not", async () => {
    const before = await server.observe();
    const connecting = Array.from({ length: 500 }, () => connectRawTo(server.url, "/player", tokens["/player"]));
    const clients = await Promise.all(connecting);
    for (const [i, client] of clients.entries()) {
      client.send('4510-/player,["x"]');
      if (i % 2 === 0) for (let sent = 0; sent < 9; sent++) client.send(new Uint8Array(60_000));
    }
    await Promise.all(clients.map((client) => client.closed));
    await expectWitnessed();
    expect((await server.observe()).heapBytes - before.heapBytes).toBeLessThan(8 * MEGABYTE);
  });
});

describe("below Socket.IO", () => {
  const KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
  const UPGRADE = `Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${KEY}`;
  const PATH = "/socket.io/?EIO=4&transport=websocket";
  /** A client's frame, masked with zeros. */
  const frame = (first: number, payload: string) =>
    Buffer.concat([Buffer.from([first, 0x80 | payload.length, 0, 0, 0, 0]), Buffer.from(payload)]);

  /** Sends bytes on a new connection, then more when the upgrade was answered, and ends the connection. */
  async function sendBytes(bytes: string, more: Buffer[] = [], end: "end" | "reset" = "end"): Promise<string> {
    const { hostname, port } = new URL(server.url);
    const socket = connectTcp(Number(port), hostname);
    let answer = "";
    socket.setEncoding("latin1").on("data", (text) => {
      answer += text;
    });
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => undefined);
    socket.write(bytes);
    if (end === "reset") {
      await new Promise<void>((resolve) => socket.write("", () => resolve()));
      socket.resetAndDestroy();
    } else {
      if (more.length > 0) await waitFor(() => answer.includes("\r\n\r\n"), { what: `an upgrade; got ${answer}` });
      for (const part of more) socket.write(part);
      socket.end();
    }
    await closed;
    return answer;
  }

  it.each<[string, Buffer[]]>([
    ["CVE-2022-21676, RSV1", [frame(0xc1, "40")]],
    ["CVE-2022-21676, RSV2", [frame(0xa1, "40")]],
    ["CVE-2022-21676, RSV3", [frame(0x91, "40")]],
    ["all RSV bits", [frame(0xf1, "40")]],
    ["an unknown opcode", [frame(0x83, "40")]],
    ["a fragmented ping", [frame(0x09, "x")]],
    ["a continuation of nothing", [frame(0x80, "x")]],
    [
      "a text frame that is no UTF-8",
      [Buffer.concat([Buffer.from([0x81, 0x82, 0, 0, 0, 0]), Buffer.from([0xc3, 0x28])])],
    ],
    ["a frame without a mask", [Buffer.concat([Buffer.from([0x81, 0x02]), Buffer.from("40")])]],
    ["a length of 2^63", [Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]],
    ["half a frame", [Buffer.from([0x81])]],
    ["a close of one byte", [frame(0x88, "x")]],
  ])("a bad WebSocket frame (%s) ends its own connection and no other", async (_, frames) => {
    expect(await sendBytes(`GET ${PATH} HTTP/1.1\r\n${UPGRADE}\r\n`, frames)).toMatch(/^HTTP\/1\.1 101/);
    await expectWitnessed();
  });

  it.each<[string, string]>([
    ["no upgrade at all", `GET ${PATH} HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["an upgrade to something else", `GET ${PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n`],
    ["CVE-2023-31125, an upgrade of an unknown session", `GET ${PATH}&sid=nobody HTTP/1.1\r\n${UPGRADE}\r\n`],
    ["long polling, which is off", "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n"],
    [
      "a poll that posts",
      "POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n40",
    ],
    ["a transport that is none", "GET /socket.io/?EIO=4&transport=__proto__ HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["the protocol before", `GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\n${UPGRADE}\r\n`],
    ["no query", `GET /socket.io/ HTTP/1.1\r\n${UPGRADE}\r\n`],
    ["a query twice", `GET ${PATH}&EIO=4&transport=polling&transport[]=x HTTP/1.1\r\n${UPGRADE}\r\n`],
    ["extensions of 8 KB", `GET ${PATH} HTTP/1.1\r\n${UPGRADE}Sec-WebSocket-Extensions: ${"a; ".repeat(2700)}\r\n\r\n`],
    ["protocols of 8 KB", `GET ${PATH} HTTP/1.1\r\n${UPGRADE}Sec-WebSocket-Protocol: ${",".repeat(8000)}\r\n\r\n`],
    [
      "a thousand headers",
      `GET ${PATH} HTTP/1.1\r\n${UPGRADE}${Array.from({ length: 1000 }, (_, i) => `a${i}: b`).join("\r\n")}\r\n\r\n`,
    ],
    ["a method of its own", `NONSENSE ${PATH} HTTP/1.1\r\n${UPGRADE}\r\n`],
    ["an upgrade by POST", `POST ${PATH} HTTP/1.1\r\n${UPGRADE}Content-Length: 0\r\n\r\n`],
  ])(
    "a bad request (%s) is answered or its connection ended, whether the client waits or leaves at once",
    async (_, request) => {
      await sendBytes(request);
      for (let i = 0; i < 20; i++) await sendBytes(request, [], "reset");
      await expectWitnessed();
    },
  );
});

it("keeps no socket of all these clients", async () => {
  await expectNobodyLeft();
  await expectWitnessed();
});
