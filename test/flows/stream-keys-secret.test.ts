import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OwnStream, Stream } from "../../src/protocol/stream.ts";
import { removeDataFolder } from "../helpers/data-folder.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { findKeys, findKeysInFiles, findLeaks, toShown } from "../helpers/key-search.ts";
import { startTestPostgres, type TestPostgres } from "../helpers/postgres.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import { runPlayhead } from "../helpers/run-playhead.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { connectRaw, connectRawTo, type RawClient } from "../helpers/socket-client.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Stream keys go through their whole life, by every interface, with everything logged: they are made, used rightly and
 * wrongly, in requests well-formed and malformed, while the database fails and while it is away, rotated, expired and
 * revoked. Then everything that anybody could read is searched: a key stands in the answer that makes it, and nowhere
 * else.
 */

const SECRET = "only-these-flows-know-it";
/** Nobody listens there: Playhead fails to drop the publishers of this nginx. */
const DEAD_CONTROL = "http://127.0.0.1:9/control";

let folder: string;
let postgres: TestPostgres;
let query: Query;
let server: ServerProcess;
let alice: string;
/** Every key that was made. */
const keys: string[] = [];
/** Keys that a client sent as an id, so the database was asked for that id. */
const usedAsIds: string[] = [];
/** Answers that made a key, in the order of `keys`. */
const makingAnswers: string[] = [];
const otherAnswers: string[] = [];
const sockets: RawClient[] = [];
let metrics: string;

/** Calls, and keeps the answer with its headers. */
async function call(path: string, { as = alice, method = "POST", body = "{}", type = "application/json" } = {}) {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${as}`, "content-type": type, origin: server.url },
    ...(method === "GET" ? {} : { body }),
  });
  const text = await response.text();
  const answer = `${method} ${response.status} ${JSON.stringify([...response.headers])} ${text}`;
  const makesKey = text.includes('"streamKey"') && response.ok;
  (makesKey ? makingAnswers : otherAnswers).push(answer);
  return { status: response.status, text };
}

interface Made {
  stream: OwnStream;
  streamKey: string;
}

/** Calls for a new key. */
async function makeKey(path: string, body: object = {}): Promise<Made> {
  const made = JSON.parse((await call(path, { body: JSON.stringify(body) })).text) as Made;
  keys.push(made.streamKey);
  return made;
}

function create(settings: object = {}): Promise<Made> {
  return makeKey("/v1/streams", { title: "A talk", ...settings });
}

/** Runs `playhead streams …`. Its output is kept as an answer: a making answer if it has a key. */
async function command(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runPlayhead(["streams", ...args], {
    cwd: folder,
    env: { DATABASE_URL: postgres.url, LOG_LEVEL: "trace" },
  });
  expect(code).toBe(0);
  const [, made] = /"streamKey":"([^"]+)"|^key (.*)$/m.exec(stdout)?.filter(Boolean) ?? [];
  if (made !== undefined) keys.push(made);
  (made === undefined ? otherAnswers : makingAnswers).push(stdout);
  otherAnswers.push(stderr);
  return stdout;
}

async function connectMediaServer(name: string): Promise<RawClient> {
  const media = await connectRaw(server.url);
  sockets.push(media);
  media.send(`40/rtmp,${JSON.stringify({ secret: SECRET, server: name, boot: "1" })}`);
  await media.hear((frame) => frame.startsWith("40/rtmp,"));
  return media;
}

async function watch(...topics: string[]): Promise<RawClient> {
  const dashboard = await connectRawTo(server.url, "/dashboard", await mintToken("root", "admin"));
  sockets.push(dashboard);
  for (const topic of topics) await dashboard.callRaw("/dashboard", JSON.stringify(["subscribe", { topic }]));
  return dashboard;
}

/** Waits until the database has the status. */
async function until(streamId: string, status: Stream["status"]): Promise<void> {
  await waitFor(
    async () => (await query("SELECT FROM streams WHERE id = $1 AND status = $2", [streamId, status])).length === 1,
    { what: `the stream to be ${status}` },
  );
}

async function ask(media: RawClient, event: string, ...given: unknown[]) {
  return (await media.callRaw("/rtmp", JSON.stringify([event, ...given]))) as unknown as Record<string, string>;
}

/** Wrong keys that give most of the key away. */
function toNearMisses(key: string): string[] {
  return [key.slice(0, -1), `${key}x`, ` ${key}`, `${key}\n`, key.slice(4), `live/${key}`, `${key}?a=b`];
}

const HOOKS = {
  nginx: (event: string, fields: Record<string, string>, server = "edge-1") =>
    call(`/v1/hooks/nginx-rtmp/${event}?secret=${SECRET}&server=${server}`, {
      body: new URLSearchParams({ app: "live", addr: "192.0.2.1", clientid: "1", ...fields }).toString(),
      type: "application/x-www-form-urlencoded",
    }),
  srs: (fields: object) =>
    call(`/v1/hooks/srs?secret=${SECRET}`, {
      body: JSON.stringify({ client_id: "c1", ip: "192.0.2.1", app: "live", param: "", ...fields }),
    }),
  mediamtx: (fields: object) =>
    call(`/v1/hooks/mediamtx?secret=${SECRET}`, {
      body: JSON.stringify({ action: "publish", id: "m1", ip: "192.0.2.1", protocol: "rtmp", ...fields }),
    }),
  async ome(request: object) {
    const body = JSON.stringify({
      client: { address: "192.0.2.1", port: 40_001 },
      request: { direction: "incoming", status: "opening", protocol: "RTMP", ...request },
    });
    const response = await fetch(`${server.url}/v1/hooks/ovenmediaengine`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "x-ome-signature": createHmac("sha1", SECRET).update(body).digest("base64url"),
      },
      body,
    });
    const text = await response.text();
    otherAnswers.push(text);
    return { status: response.status, text };
  },
};

/** Makes keys by HTTP and on the command line. Sends malformed requests with a key in every wrong place. */
async function makeKeys(): Promise<void> {
  const { stream, streamKey } = await create({ expiresAt: "2199-01-01T00:00:00Z" });
  const [json] = await Promise.all([
    command("create", "--user", "alice", "--title", "By command", "--json"),
    command("create", "--user", "alice", "--title", "For a person"),
  ]);
  const made = JSON.parse(json) as Made;
  await Promise.all([command("rotate", made.stream.id, "--grace", "600"), command("list"), command("list", "--json")]);
  usedAsIds.push(streamKey);
  const malformed = [
    ...[
      streamKey,
      `"${streamKey}"`,
      `["${streamKey}"]`,
      `{"title":"x","streamKey":"${streamKey}`,
      `{"${streamKey}":1}`,
    ],
    ...["title", "expiresAt", "policy", "reconnectWindowSeconds", "userId"].map((field) =>
      JSON.stringify({ title: "x", [field]: { [streamKey]: streamKey } }),
    ),
    ...["expiresAt", "policy", "reconnectWindowSeconds"].map((field) =>
      JSON.stringify({ title: "x", [field]: streamKey }),
    ),
    JSON.stringify({ title: "x", filler: streamKey.repeat(2000) }),
  ];
  for (const body of malformed) {
    expect((await call("/v1/streams", { body })).status).toBeGreaterThanOrEqual(400);
    await call(`/v1/streams/${stream.id}`, { method: "PATCH", body });
    await call(`/v1/streams/${stream.id}/rotate`, { body: body.replace(/^\{/, '{"graceSeconds":"x",') });
    await call("/v1/streams", { body, type: `text/${streamKey}` });
    await call("/v1/hooks/srs", { body });
  }
  for (const path of [
    `/v1/streams/${streamKey}`,
    `/v1/streams/${streamKey}/sessions`,
    `/${streamKey}?key=${streamKey}`,
  ]) {
    expect((await call(path, { method: "GET" })).status).toBe(404);
  }
  await call(`/v1/streams/${streamKey}/revoke`);
  await call(`/v1/streams?after=${streamKey}&limit=${streamKey}&mine=${streamKey}`, { method: "GET" });
  await call(`/v1/streams?limit=${streamKey}`, { method: "GET", as: streamKey });
  await call("/v1/streams", { method: "GET" });
  await call(`/v1/streams/${stream.id}`, { method: "GET" });
  await call(`/v1/streams/${stream.id}`, { method: "PATCH", body: JSON.stringify({ title: "Another talk" }) });
}

/** A media server on the socket: handshakes, checks of keys and reports, right and wrong ones. */
async function publishBySocket(): Promise<void> {
  const { stream, streamKey } = await create();
  await watch("streams", `stream:${stream.id}`);
  await refuseHandshakes(streamKey);
  const media = await connectMediaServer("ingest-1");
  for (const wrong of toNearMisses(streamKey)) {
    await ask(media, "stream:validate", { streamKey: wrong, connectionId: "w", clientIp: "192.0.2.66" });
  }
  let limited = "";
  for (let attempt = 0; attempt < 30 && limited === ""; attempt += 1) {
    const answer = await ask(media, "stream:validate", {
      streamKey: `${streamKey}${attempt}`,
      connectionId: "w",
      clientIp: "192.0.2.66",
    });
    if (answer.ok !== (true as unknown)) limited = JSON.stringify(answer);
  }
  expect(limited).toContain("rate_limited");

  const rotated = await makeKey(`/v1/streams/${stream.id}/rotate`, { graceSeconds: 600 });
  // People put their key into the wrong field of their encoder, and media servers pass that field on.
  const question = { streamKey: rotated.streamKey, connectionId: "1", app: `live/${streamKey}`, protocol: "rtmp" };
  await ask(media, "stream:validate", { ...question, streamKey });
  const { sessionId } = await ask(media, "stream:validate", question);
  usedAsIds.push(streamKey);
  await askMalformed(media, streamKey, sessionId as string);
  await ask(media, "stream:started", { sessionId });
  await ask(media, "stream:stats", { sessionId, bitrateKbps: 2500, viewers: 3, mediaTimeMs: 10 });
  await until(stream.id, "live");
  await ask(media, "stream:validate", { ...question, connectionId: "2" });
  await ask(media, "stream:ended", { sessionId, reason: `/live/${streamKey} is published no more` });
  await until(stream.id, "reconnecting");
  const again = await ask(media, "stream:validate", question);
  await ask(media, "stream:started", { sessionId: again.sessionId });
  await until(stream.id, "live");
  await call(`/v1/streams/${stream.id}/revoke`);
  await media.hear((frame) => frame.startsWith('42/rtmp,["stream:drop"'));
  await ask(media, "stream:validate", question);
  await call(`/v1/streams/${stream.id}/enable`);
  await call(`/v1/streams/${stream.id}/sessions`, { method: "GET" });
  await command("sessions", stream.id);
}

async function refuseHandshakes(streamKey: string): Promise<void> {
  for (const auth of [
    { secret: streamKey },
    { secret: SECRET, server: { [streamKey]: streamKey } },
    { [streamKey]: streamKey },
    { token: streamKey },
  ]) {
    const refused = await connectRaw(server.url);
    sockets.push(refused);
    refused.send(`40/rtmp,${JSON.stringify(auth)}`);
    refused.send(`40/dashboard,${JSON.stringify(auth)}`);
    await refused.hear((frame) => frame.startsWith("44/rtmp,"));
    await refused.hear((frame) => frame.startsWith("44/dashboard,"));
  }
}

async function askMalformed(media: RawClient, streamKey: string, sessionId: string): Promise<void> {
  for (const payload of [
    streamKey,
    [streamKey],
    { streamKey },
    { [streamKey]: 1 },
    { streamKey: [streamKey], connectionId: "1" },
    { streamKey: { [streamKey]: 1 }, connectionId: "1" },
    { streamKey: streamKey.repeat(10), connectionId: "1" },
    { streamKey, connectionId: { [streamKey]: streamKey } },
    { streamKey, connectionId: "1", app: [streamKey] },
    { streamKey, connectionId: "1", clientIp: streamKey.repeat(3) },
  ]) {
    expect(await ask(media, "stream:validate", payload)).toMatchObject({ ok: false, error: { code: "bad_request" } });
  }
  await ask(media, "stream:started", { sessionId: streamKey });
  await ask(media, "stream:stats", { sessionId, bitrateKbps: streamKey });
  await ask(media, "stream:stats", { sessionId: streamKey, viewers: 1 });
  await ask(media, "stream:ended", { sessionId: streamKey, reason: { [streamKey]: 1 } });
  await ask(media, streamKey, streamKey);
  await ask(media, "stream:validate", streamKey, streamKey);
  // Without an ack, the event `problem` says what was wrong.
  media.send(`42/rtmp,${JSON.stringify(["stream:validate", { streamKey }])}`);
  media.send(`42/rtmp,${JSON.stringify([streamKey, { streamKey }])}`);
  await media.hear((frame) => frame.includes('"problem"') && frame.includes("There is no call"));
  const dashboard = await watch(`stream:${streamKey}`, streamKey, `streams:${streamKey}`);
  await dashboard.callRaw("/dashboard", JSON.stringify([streamKey, { topic: streamKey }]));
  // A frame that is no packet ends the connection.
  const broken = await connectMediaServer("broken");
  broken.send(`42/rtmp,1["stream:validate",{"streamKey":"${streamKey}"`);
  await broken.closed;
}

/** Media servers that ask by HTTP, each with a stream of its own. */
async function publishByHooks(): Promise<void> {
  await publishByNginx();
  await publishBySrs();
  await publishByMediamtx();
  await publishByOme();
}

async function publishByNginx(): Promise<void> {
  const { stream, streamKey: name } = await create();
  for (const wrong of toNearMisses(name)) await HOOKS.nginx("on_publish", { name: wrong });
  await waitFor(
    async () => (await HOOKS.nginx("on_publish", { name: `${name}-`, addr: "192.0.2.77" })).status === 429,
    {
      what: "too many wrong keys",
    },
  );
  await HOOKS.nginx("on_publish", { name, timestamp: name });
  await HOOKS.nginx("on_publish", { name, clientid: "" });
  await HOOKS.nginx("on_publish", { name: name.repeat(10) });
  for (const body of [`name=${name}&name=${name}`, `clientid=1&${name}=1`, JSON.stringify({ name })]) {
    await call(`/v1/hooks/nginx-rtmp/on_publish?secret=${SECRET}`, { body, type: "application/x-www-form-urlencoded" });
    await call(`/v1/hooks/nginx-rtmp/on_publish?secret=${SECRET}`, { body });
    await call(`/v1/hooks/nginx-rtmp/on_publish?secret=${name}`, { body });
    await call(`/v1/hooks/nginx-rtmp/${name}?secret=${SECRET}`, { body });
  }
  expect(await HOOKS.nginx("on_publish", { name, app: `live/${name}` })).toMatchObject({ status: 200 });
  expect(await HOOKS.nginx("on_publish", { name, clientid: "2" })).toMatchObject({ status: 403 });
  await HOOKS.nginx("on_update", { name, timestamp: "1000" });
  await HOOKS.nginx("on_update", { name, timestamp: name });
  await HOOKS.nginx("on_publish_done", { name });
  await until(stream.id, "reconnecting");
  await HOOKS.nginx("on_publish", { name, clientid: "3" });
  await until(stream.id, "live");
  // The control URL does not answer, which is logged.
  await command("disable", stream.id);
  await waitFor(() => server.process.stderr().includes("nginx could not be told"), { what: "a drop that fails" });
  await HOOKS.nginx("on_update", { name, clientid: "3" });
}

async function publishBySrs(): Promise<void> {
  const { stream, streamKey } = await create();
  for (const wrong of toNearMisses(streamKey)) await HOOKS.srs({ action: "on_publish", stream: wrong });
  for (const fields of [
    { action: streamKey, stream: streamKey },
    { action: "on_publish", stream: [streamKey] },
    { action: "on_publish", stream: streamKey.repeat(20) },
    { action: "on_publish", stream: streamKey, client_id: { [streamKey]: 1 } },
    { action: "on_play", stream: streamKey },
  ]) {
    await HOOKS.srs(fields);
  }
  await call(`/v1/hooks/srs?secret=${SECRET}`, { body: `{"action":"on_publish","stream":"${streamKey}` });
  // The encoder has the whole address in its field for the server, and the key once more in the field for the key.
  const published = { stream: "talk", param: `?key=${streamKey}`, app: `live/${streamKey}` };
  expect(await HOOKS.srs({ action: "on_publish", ...published })).toMatchObject({ status: 200 });
  await HOOKS.srs({ action: "on_hls", ...published, url: `live/${streamKey}-1.ts` });
  await HOOKS.srs({ action: "on_unpublish", ...published });
  await until(stream.id, "reconnecting");
}

async function publishByMediamtx(): Promise<void> {
  const { stream, streamKey } = await create();
  for (const wrong of toNearMisses(streamKey)) await HOOKS.mediamtx({ password: wrong });
  await HOOKS.mediamtx({ action: streamKey });
  await HOOKS.mediamtx({ action: "read", path: streamKey, query: `key=${streamKey}` });
  await HOOKS.mediamtx({ password: { [streamKey]: streamKey } });
  await HOOKS.mediamtx({ token: streamKey.repeat(10) });
  await HOOKS.mediamtx({ password: streamKey, id: "x".repeat(200) + streamKey });
  const path = `live/${streamKey}/${streamKey}`;
  for (const how of [{ password: streamKey }, { token: streamKey }, { query: `key=${streamKey}` }, {}]) {
    expect(await HOOKS.mediamtx({ path, ...how })).toMatchObject({ status: 204 });
  }
  await HOOKS.mediamtx({ action: "update", path });
  await HOOKS.mediamtx({ action: "unpublish", path });
  await until(stream.id, "reconnecting");
  // Old versions send no id; the path takes its place.
  expect(await HOOKS.mediamtx({ id: null, path })).toMatchObject({ status: 204 });
  await HOOKS.mediamtx({ action: "unpublish", id: null, path });
}

async function publishByOme(): Promise<void> {
  const { stream, streamKey } = await create();
  for (const wrong of toNearMisses(streamKey))
    await HOOKS.ome({ url: `rtmp://ome.test/app/${encodeURIComponent(wrong)}` });
  for (const url of [streamKey, `rtmp//${streamKey}`, `rtmp://ome.test/app/%E0%A4%A?key=${streamKey}`, [streamKey]]) {
    expect((await HOOKS.ome({ url })).text).not.toContain("true");
  }
  await HOOKS.ome({ url: `rtmp://ome.test/app/${streamKey}`, direction: streamKey });
  await call("/v1/hooks/ovenmediaengine", { body: JSON.stringify({ url: streamKey }) });
  const url = `rtmp://ome.test/live/${streamKey}/${streamKey}`;
  expect((await HOOKS.ome({ url })).text).toContain('"allowed":true');
  await HOOKS.ome({ url, status: "closing" });
  await until(stream.id, "reconnecting");
}

/** Makes statements fail for unexpected reasons: PostgreSQL's error messages quote the values. */
async function meetFailures(): Promise<void> {
  const { streamKey } = await create();
  const media = await connectMediaServer("ingest-2");
  const question = { streamKey, connectionId: "1", app: streamKey, clientIp: "192.0.2.1", protocol: "rtmp" };
  await query("ALTER TABLE stream_sessions ADD CONSTRAINT refused CHECK (server !~ ':(ingest-2|refused)$')");
  await query("ALTER TABLE streams ADD CONSTRAINT refused CHECK (title <> 'refused')");
  expect(await ask(media, "stream:validate", question)).toMatchObject({ ok: false, error: { code: "internal" } });
  expect(await HOOKS.nginx("on_publish", { name: streamKey, app: streamKey }, "refused")).toMatchObject({
    status: 500,
  });
  expect(await call("/v1/streams", { body: JSON.stringify({ title: "refused" }) })).toMatchObject({ status: 500 });
  await query("ALTER TABLE stream_sessions DROP CONSTRAINT refused");
  await query("ALTER TABLE streams DROP CONSTRAINT refused");

  await query("ALTER TABLE stream_sessions RENAME TO sessions_away");
  expect(await ask(media, "stream:validate", question)).toMatchObject({ ok: false, error: { code: "internal" } });
  await HOOKS.nginx("on_publish", { name: streamKey });
  await HOOKS.nginx("on_update", { name: streamKey });
  await HOOKS.nginx("on_publish_done", { name: streamKey });
  await query("ALTER TABLE sessions_away RENAME TO stream_sessions");
}

async function loseDatabase(): Promise<void> {
  const [known, unknown] = [await create(), await create()];
  const name = known.streamKey;
  const media = await connectMediaServer("ingest-3");
  await HOOKS.nginx("on_publish", { name, clientid: "7" });
  await HOOKS.nginx("on_publish_done", { name, clientid: "7" });
  await postgres.killImmediately();
  expect(await HOOKS.nginx("on_publish", { name, clientid: "8", app: `live/${name}` })).toMatchObject({ status: 200 });
  expect(await HOOKS.nginx("on_publish", { name: unknown.streamKey })).toMatchObject({ status: 503 });
  expect(await HOOKS.nginx("on_update", { name, clientid: "8" })).toMatchObject({ status: 200 });
  await HOOKS.nginx("on_update", { name: unknown.streamKey });
  await HOOKS.nginx("on_publish_done", { name: unknown.streamKey });
  await ask(media, "stream:validate", { streamKey: name, connectionId: "1" });
  await ask(media, "stream:validate", { streamKey: unknown.streamKey, connectionId: "1" });
  expect(await call("/v1/streams", { body: JSON.stringify({ title: "x" }) })).toMatchObject({ status: 503 });
  await postgres.startAgain();
  await waitFor(async () => (await fetch(`${server.url}/readyz`)).status === 200, { what: "the server to be ready" });
  await until(known.stream.id, "live");
}

/** Keys that expire, and keys that their owner ends. */
async function endKeys(): Promise<void> {
  const { stream, streamKey } = await create();
  const media = await connectMediaServer("ingest-4");
  const question = { streamKey, connectionId: "1" };
  const { sessionId } = await ask(media, "stream:validate", question);
  await ask(media, "stream:started", { sessionId });
  const dashboard = await watch(`stream:${stream.id}`);
  await query("UPDATE streams SET expires_at = clock_timestamp() + interval '100 ms' WHERE id = $1", [stream.id]);
  await media.hear((frame) => frame.startsWith('42/rtmp,["stream:drop"') && frame.includes("expired"));
  await dashboard.hear((frame) => frame.includes('"status":"expired"'));
  expect(await ask(media, "stream:validate", question)).toMatchObject({ valid: false, reason: "expired" });
  await command("rotate", stream.id);
  await call(`/v1/streams/${stream.id}`, { method: "PATCH", body: JSON.stringify({ expiresAt: null }) });
  await command("revoke", stream.id);
  await call(`/v1/streams/${stream.id}`, { method: "DELETE", body: "" });
}

let dump: string;
let output: string;
let databaseFolder: string;
let databaseLog: string;

beforeAll(async () => {
  folder = await makeTemporaryFolder();
  // PostgreSQL logs every statement with its values.
  postgres = await startTestPostgres({ log_statement: "all", log_min_messages: "info" });
  query = queryOf(postgres.url);
  alice = await mintToken("alice");
  server = await startFlowServer({
    DATABASE_URL: postgres.url,
    LOG_LEVEL: "trace",
    HOOK_SECRETS: SECRET,
    RTMP_SECRETS: SECRET,
    NGINX_CONTROL_URLS: `edge-1=${DEAD_CONTROL}`,
    MAX_STREAMS_PER_USER: "1000",
    QUERY_TIMEOUT_MS: "1500",
  });
  await watch("streams");
  await makeKeys();
  await publishBySocket();
  await publishByHooks();
  await meetFailures();
  await loseDatabase();
  await endKeys();
  await call("/v1/streams?limit=200", { method: "GET", as: await mintToken("root", "admin") });
  metrics = await (await fetch(`${server.url}/metrics`)).text();
  dump = await dumpTables();
  const [{ data_directory: dataDirectory } = { data_directory: "" }] = await query<{ data_directory: string }>(
    "SHOW data_directory",
  );
  databaseFolder = dataDirectory;
  for (const { ws } of sockets) {
    if (ws.readyState === ws.CLOSED) continue;
    ws.close();
    await once(ws, "close");
  }
  expect(await server.stop()).toBe(0);
  output = server.process.stdout() + server.process.stderr();
  await query("CHECKPOINT");
  databaseLog = await readDatabaseLog();
});
afterAll(async () => {
  await server?.kill();
  await postgres?.stop();
  await removeDataFolder(folder);
});

/** Every row of every table, as text. */
async function dumpTables(): Promise<string> {
  const tables = await query<{ name: string }>(
    `SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) AS name FROM information_schema.tables
     WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`,
  );
  const parts: string[] = [];
  for (const { name } of tables) {
    const rows = await query<{ row: string }>(`SELECT t::text AS row FROM ${name} AS t`);
    parts.push(name, ...rows.map(({ row }) => row));
  }
  return parts.join("\n");
}

async function readDatabaseLog(): Promise<string> {
  return readFile(join(databaseFolder, "../postgres.log"), "utf8");
}

function toHash(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** The text is what the test takes it for: without these parts it would prove nothing. */
function expectAll(text: string, parts: readonly string[]): void {
  expect(parts.filter((part) => !text.includes(part))).toEqual([]);
}

/** The visible prefixes of keys that are in use now. */
function findListed(): string[] {
  const listed = keys.map(toShown).filter((shown) => dump.includes(shown));
  expect(listed.length).toBeGreaterThan(8);
  return listed;
}

function expectNone(text: string): void {
  expect(findLeaks(keys, text)).toEqual([]);
}

describe("a stream key", () => {
  it("stands in the answer that makes it, exactly once", () => {
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys.length).toBeGreaterThan(10);
    expect(makingAnswers).toHaveLength(keys.length);
    for (const [i, answer] of makingAnswers.entries()) {
      expect(findKeys(keys, answer)).toEqual([toShown(keys[i] as string)]);
      expect(answer.split(keys[i] as string)).toHaveLength(2);
    }
  });

  it("is found by the search in every form: whole, in pieces, in hex and in base64", () => {
    const [key] = keys as [string];
    const forms = [`a${key}b`, key.slice(4, 30), key.slice(20), Buffer.from(`{"k":"${key}"}`).toString("base64")];
    forms.push(Buffer.from(key).toString("hex"), Buffer.from(`x${key}`).toString("base64url"));
    for (const form of forms) expect(findKeys(keys, form)).toEqual([toShown(key)]);
    expect(findKeys(keys, keys.map(toShown).join() + keys.map(toHash).join())).toEqual([]);
  });

  it("stands in no other answer", () => {
    const all = otherAnswers.join("\n");
    expectNone(all);
    expectAll(all, findListed());
    expectAll(
      all,
      [200, 400, 401, 403, 404, 409, 413, 415, 429, 500, 503].map((status) => `POST ${status} `),
    );
  });

  it("is in no frame of any socket", () => {
    const all = sockets.flatMap(({ frames }) => frames).join("\n");
    expectNone(all);
    expectAll(all, ["live", "reconnecting", "revoked", "expired", "stream:drop", "rate_limited", "internal"]);
    expectAll(all, findListed());
  });

  it("is in nothing that the server prints or logs", () => {
    expectNone(output);
    for (const text of [
      "a call was refused",
      "Failing row contains",
      "the database is away; a known key",
      "publisher",
    ]) {
      expect(output).toContain(text);
    }
  });

  it("is in no metric", () => {
    expectNone(metrics);
    expectAll(metrics, ["playhead_stream_validations_total", 'outcome="rate_limited"', "playhead_stream_drops_total"]);
  });

  it("is nowhere in the database, which has its hash", async () => {
    expectNone(dump);
    const stored = keys.filter((key) => dump.includes(`\\x${toHash(key)}`));
    expect(stored.length).toBeGreaterThan(8);
    expectAll(dump, ["stream_sessions", "ingest-1"]);
    expect(await findKeysInFiles(keys, databaseFolder)).toEqual([]);
  });

  it("is in no statement that PostgreSQL gets, but its hash is", () => {
    const others = keys.filter((key) => !usedAsIds.includes(key));
    expect(findLeaks(others, databaseLog)).toEqual([]);
    expectAll(
      databaseLog,
      keys.map((key) => `\\x${toHash(key)}`),
    );
  });
});
