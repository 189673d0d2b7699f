import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Update } from "../../src/protocol/dashboard.ts";
import { removeDataFolder } from "../helpers/data-folder.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { startTestFirestore, type TestFirestore } from "../helpers/firestore.ts";
import { COURSE_ID, FILE_IDS, putLoadCourse, startFlowServer } from "../helpers/flow-server.ts";
import { startRedis, type TestRedis } from "../helpers/redis.ts";
import { runPlayhead } from "../helpers/run-playhead.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { type Client, connect, connectRaw, type RawClient } from "../helpers/socket-client.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * A user with an account, progress, open players and a live stream is deleted, with two servers, Redis and the mirror, while
 * Firestore is away. Then everything is searched: nothing of the user is left but a hash.
 */

const PROJECT = "deleted-user";
const SECRET = "a-secret-of-media-servers";
const NAMES = { username: "zelda1986", email: "zelda@quite-unheard.of", firstName: "Zeldina", lastName: "Quatermain" };
const FILE = FILE_IDS[0] as string;
/** Longer than a follower of the mirror waits before it begins, and than Redis keeps names of a deleted user. */
const FORGOTTEN_MS = 60_000;

let folder: string;
let database: TestDatabase;
let redis: TestRedis;
let firestore: TestFirestore;
let env: Record<string, string>;
let a: ServerProcess;
let b: ServerProcess;
let userId: string;
let token: string;
let streamId: string;
let admin: string;
const clients: (Client | RawClient)[] = [];
const logs: string[] = [];

beforeAll(async () => {
  folder = await makeTemporaryFolder();
  database = await createTestDatabase();
  [redis, firestore] = await Promise.all([startRedis(), startTestFirestore()]);
  env = {
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    RTMP_SECRETS: SECRET,
    FIREBASE_PROJECT_ID: PROJECT,
    FIRESTORE_MIRROR: "true",
    FIRESTORE_MIRROR_INTERVAL_MS: "200",
    LOG_LEVEL: "trace",
  };
  [a, b] = await Promise.all([startFlowServer(env), startFlowServer(env)]);
  admin = await mintToken("root", "admin");
  await putLoadCourse(a.url);
});
afterAll(async () => {
  for (const client of clients) client.close();
  await Promise.all([a?.kill(), b?.kill()]);
  await firestore?.stop();
  await redis?.stop();
  await database?.drop();
  await removeDataFolder(folder);
});

async function call(path: string, given: { as: string; method?: string; body?: object; url?: string }) {
  const { as, method = given.body === undefined ? "GET" : "POST", body, url = a.url } = given;
  const response = await fetch(`${url}${path}`, {
    method,
    signal: AbortSignal.timeout(30_000),
    headers: { authorization: `Bearer ${as}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? null : JSON.parse(text) };
}

async function open(url: string, namespace: "/player" | "/dashboard", as: string): Promise<Client> {
  const client = await connect(url, namespace, as);
  clients.push(client);
  return client;
}

async function openMediaServer(): Promise<RawClient> {
  const media = await connectRaw(a.url);
  clients.push(media);
  media.send(`40/rtmp,${JSON.stringify({ secret: SECRET, server: "media", boot: "1" })}`);
  await media.hear((frame) => frame.startsWith("40/rtmp,"));
  return media;
}

const beat = (position: number, more: object = {}) => ({
  fileId: FILE,
  position,
  played: [[position - 1, position]],
  ...more,
});

/** Where one of these texts is stored. */
async function search(...texts: string[]): Promise<string[]> {
  const found: string[] = [];
  const look = (place: string, stored: string) => {
    for (const text of texts) if (stored.includes(text)) found.push(`${text} in ${place}: ${stored.slice(0, 300)}`);
  };
  const tables = await database.query<{ name: string }>(
    "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
  );
  for (const { name } of tables) {
    for (const { row } of await database.query<{ row: string }>(`SELECT t::text AS row FROM ${name} AS t`))
      look(name, row);
  }
  for (const [path, fields] of Object.entries(firestore.documents(PROJECT))) {
    look("Firestore", path + JSON.stringify(fields));
  }
  await redis.ask(async (client) => {
    for (const key of await client.keys("*")) look("Redis", `${key} ${(await client.get(key).catch(() => "")) ?? ""}`);
  });
  return found;
}

describe("a user who is deleted", () => {
  it("has much that is stored, and gets all of it in an export", async () => {
    const account = { ...NAMES, password: "correct horse battery" };
    const registered = await call("/v1/auth/register", { as: "", body: account });
    expect(registered.status).toBe(201);
    ({ token } = registered.body);
    userId = registered.body.user.id;
    expect((await call("/v1/auth/register", { as: "", body: account })).status).toBe(409);

    const made = await call("/v1/streams", { as: admin, body: { title: "A talk", userId } });
    streamId = made.body.stream.id;
    const media = await openMediaServer();
    const published = { streamKey: made.body.streamKey, connectionId: "c1" };
    const claim = (await media.callRaw("/rtmp", JSON.stringify(["stream:validate", published]))) as unknown as {
      sessionId: string;
    };
    expect(
      await media.callRaw("/rtmp", JSON.stringify(["stream:started", { sessionId: claim.sessionId }])),
    ).toMatchObject({ ok: true });

    for (const url of [a.url, b.url]) {
      const player = await open(url, "/player", token);
      expect(await player.call("heartbeat", beat(5))).toMatchObject({ ok: true });
    }
    // The other server fills the cache.
    await waitFor(
      async () => {
        await call(`/v1/progress/files/${FILE}`, { as: token, url: b.url });
        return (await search(userId)).some((place) => place.includes("in Redis"));
      },
      { what: "the progress to be in the cache", timeoutMs: FORGOTTEN_MS },
    );
    await waitFor(async () => (await search(userId)).some((place) => place.includes("in Firestore")), {
      what: "the progress to be mirrored",
      timeoutMs: FORGOTTEN_MS,
    });

    const { status, body } = await call(`/v1/users/${userId}/export`, { as: token });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      account: { username: NAMES.username, email: NAMES.email, hasPassword: true },
      files: [{ fileId: FILE, courseId: COURSE_ID, position: 5 }],
      courses: [{ courseId: COURSE_ID, title: "Under load" }],
      activity: [{ type: "started", byAnother: false }],
      streams: [{ streamId, title: "A talk" }],
      streamSessions: [{ streamId, state: "live" }],
    });
    expect(JSON.stringify(body)).not.toContain(made.body.streamKey);
  });

  it("is gone from every socket, dashboard and stream at once, also while Firestore is away", async () => {
    const dashboard = await open(b.url, "/dashboard", admin);
    const answer = await dashboard.call("subscribe", { topic: `course:${COURSE_ID}` });
    const snapshot = answer.ok ? answer.snapshot : null;
    expect(snapshot?.courses).toMatchObject([{ userId }]);
    const own = await open(b.url, "/dashboard", token);
    const players = clients.filter((client): client is Client => "socket" in client && client !== dashboard);
    expect(players).toHaveLength(3);
    const media = clients.find((client): client is RawClient => "ws" in client) as RawClient;

    await firestore.goAway();
    expect((await call(`/v1/users/${userId}`, { as: token, method: "DELETE" })).status).toBe(204);
    for (const client of players) {
      await client.gone;
      expect(client.heard("server:disconnect")).toEqual([{ code: "unauthenticated" }]);
    }
    expect(own.socket.connected).toBe(false);
    await media.hear((frame) => frame.includes("stream:drop") && frame.includes("revoked"));
    const removed = () => dashboard.heard<Update>("update").flatMap((update) => update.removed ?? []);
    for (const kind of ["progress", "course", "present"]) {
      await waitFor(() => removed().some((row) => row.kind === kind && (row as { userId: string }).userId === userId), {
        what: `the dashboard to hear of the removal: ${kind}; heard ${JSON.stringify(removed())}`,
      });
    }
    await dashboard.hear<Update>("update", ({ viewers }) => viewers === 0);
  });

  it("does not come back with a token from before: not on either server, nor on one that starts later", async () => {
    const late = await startFlowServer(env);
    try {
      for (const { url } of [a, b, late]) {
        for (const namespace of ["/player", "/dashboard"] as const) {
          const error = await connect(url, namespace, token).catch((refusal: unknown) => refusal);
          expect(error).toMatchObject({ data: { code: "unauthenticated" } });
        }
        const sent = await call("/v1/heartbeats", { as: token, url, body: { beats: [beat(9, { epoch: 0 })] } });
        expect(sent).toMatchObject({ status: 401, body: { code: "unauthenticated" } });
        expect(sent.body.detail).toMatch(/deleted/);
      }
    } finally {
      await late.stop();
      logs.push(late.process.stderr());
    }
    const login = { username: NAMES.username, password: "correct horse battery" };
    expect((await call("/v1/auth/login", { as: "", body: login })).status).toBe(401);
    expect((await call(`/v1/users/${userId}`, { as: token, method: "DELETE" })).status).toBe(204);
    expect((await call(`/v1/users/${userId}`, { as: admin, method: "DELETE" })).status).toBe(204);
  });

  it("is nowhere any more once Firestore is back, except as a hash", async () => {
    await firestore.comeBack();
    const names = Object.values(NAMES);
    await waitFor(
      async () => {
        expect(await search(userId, streamId, ...names)).toEqual([]);
        return true;
      },
      { what: "nothing to be found", timeoutMs: FORGOTTEN_MS },
    );
    expect(await database.query("SELECT FROM deleted_users")).toHaveLength(1);
    await waitFor(() => Object.keys(firestore.documents(PROJECT)).some((path) => path.startsWith("playhead_deleted")), {
      what: "the deletion to be mirrored",
      timeoutMs: FORGOTTEN_MS,
    });
  });

  it("is in no restore from the mirror, neither by its rows nor by its old token", async () => {
    const lost = database;
    database = await createTestDatabase();
    try {
      const server = await startFlowServer({ ...env, DATABASE_URL: database.url, REDIS_URL: "" });
      await putLoadCourse(server.url);
      expect(await server.stop()).toBe(0);
      const run = { cwd: folder, env: { ...env, DATABASE_URL: database.url, LOG_LEVEL: "error" } };
      expect(await runPlayhead(["backup", "restore", "--force"], run)).toMatchObject({ code: 0 });
      const restored = await startFlowServer({ ...env, DATABASE_URL: database.url, REDIS_URL: "" });
      const error = await connect(restored.url, "/player", token).catch((refusal: unknown) => refusal);
      expect(error).toMatchObject({ data: { code: "unauthenticated" } });
      expect(await restored.stop()).toBe(0);
      expect(await search(userId)).toEqual([]);
    } finally {
      await database.drop();
      database = lost;
    }
  });

  it("begins anew with a newer token: what a device has kept is dropped by its epoch", async () => {
    const newer = await waitFor(
      async () => {
        const fresh = await mintToken(userId);
        return (await call(`/v1/progress/files/${FILE}`, { as: fresh, url: b.url })).status === 200 ? fresh : null;
      },
      { what: "a token that was issued a second later" },
    );
    const player = await open(b.url, "/player", newer);
    expect(await player.call("progress:get", { fileId: FILE })).toMatchObject({
      ok: true,
      progress: { position: 0, epoch: 1, watched: [] },
    });
    expect(await player.call("heartbeat", beat(9, { epoch: 0 }))).toMatchObject({
      ok: true,
      progress: { position: 0, epoch: 1, watched: [] },
    });
    expect(await player.call("heartbeat", beat(9, { ageMs: 600_000 }))).toMatchObject({
      ok: true,
      progress: { watched: [] },
    });
    expect(await player.call("heartbeat", beat(3, { epoch: 1 }))).toMatchObject({
      ok: true,
      progress: { position: 3, epoch: 1, watched: [[2, 3]] },
    });
    const error = await connect(a.url, "/player", token).catch((refusal: unknown) => refusal);
    expect(error).toMatchObject({ data: { code: "unauthenticated" } });
  });

  it("is exported and deleted from the command line too, while servers run", async () => {
    const player = await open(a.url, "/player", await mintToken("walter"));
    expect(await player.call("heartbeat", beat(5))).toMatchObject({ ok: true });
    const run = (...args: string[]) =>
      runPlayhead(["users", ...args], { cwd: folder, env: { ...env, LOG_LEVEL: "error" } });
    const exported = await run("export", "walter");
    expect(exported).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(exported.stdout)).toMatchObject({ userId: "walter", files: [{ fileId: FILE, position: 5 }] });
    expect(await run("delete", "walter")).toMatchObject({ code: 0, stdout: "user walter is deleted\n" });
    await player.gone;
    await waitFor(
      async () => {
        expect(await search("walter")).toEqual([]);
        return true;
      },
      { what: "nothing to be found", timeoutMs: FORGOTTEN_MS },
    );
  });

  it("is named in no log by name or address", async () => {
    expect(await Promise.all([a.stop(), b.stop()])).toEqual([0, 0]);
    for (const text of [...logs, a.process.stderr(), b.process.stderr()])
      for (const name of Object.values(NAMES)) expect(text).not.toContain(name);
  });
});
