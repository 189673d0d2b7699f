import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { createLogger } from "../../src/logger.ts";
import { startServer } from "../../src/server.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { FakeGoogle, PROJECT_ID } from "../helpers/fake-google.ts";
import { putCourse, readMetric } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type Client, type ConnectError, connect, type Namespace } from "../helpers/socket-client.ts";
import type { TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * A whole server for a Firebase project: its users on sockets and over HTTP, beside users with built-in tokens.
 */

const NAMESPACES: Namespace[] = ["/player", "/dashboard"];
const COURSE = {
  title: "Course",
  instructorId: "ines",
  lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "File", durationSeconds: 100 }] }],
};

let database: TestDatabase;
let google: FakeGoogle;
const open: { close(): unknown }[] = [];

beforeAll(async () => {
  [database, google] = await Promise.all([createTestDatabase(), FakeGoogle.start()]);
});
afterEach(() => {
  for (const client of open.splice(0)) client.close();
});
afterAll(async () => {
  await google.stop();
  await database.drop();
});

function start(): Promise<TestServer> {
  const config = loadConfig(
    serverEnv(database, { FIREBASE_PROJECT_ID: PROJECT_ID, BUILTIN_ACCOUNTS: "false", LOG_LEVEL: "error" }),
  );
  return startServer({
    config,
    logger: createLogger({ level: config.LOG_LEVEL }),
    google: { keysUrl: google.keysUrl, httpAgent: google.agent, credential: google.credential },
  });
}

async function enter(url: string, namespace: Namespace, token: string): Promise<Client> {
  const client = await connect(url, namespace, token);
  open.push(client);
  return client;
}

function refusal(url: string, namespace: Namespace, token: string): Promise<ConnectError["data"]> {
  return enter(url, namespace, token).then(
    () => undefined,
    (error: unknown) => (error as ConnectError).data,
  );
}

function get(url: string, path: string, token: string): Promise<Response> {
  return fetch(url + path, { headers: { authorization: `Bearer ${token}` } });
}

describe("a server of a Firebase project", () => {
  let server: TestServer;
  beforeAll(async () => {
    for (const user of ["alice", "ines", "bob"]) google.users.set(user, {});
    server = await start();
    await putCourse(server.url, "c1", COURSE);
  });
  afterAll(() => server.stop());

  it("stores the progress of its users under their uid, over sockets and HTTP", async () => {
    const token = await google.sign();
    const player = await enter(server.url, "/player", token);
    expect(await player.call("heartbeat", { fileId: "f1", position: 3, played: [[0, 3]] })).toMatchObject({
      ok: true,
      progress: { userId: "alice", position: 3 },
    });
    const dashboard = await enter(server.url, "/dashboard", token);
    expect(await dashboard.call("subscribe", { topic: "user:alice" })).toMatchObject({ ok: true });
    const response = await get(server.url, "/learn/api/progress/file/f1", token);
    expect(response.status).toBe(200);
    expect(await database.query("select role from users where id = 'alice'")).toEqual([{ role: "learner" }]);
  });

  it("grants the rights of the custom claim", async () => {
    const learner = await enter(server.url, "/dashboard", await google.sign());
    expect(await learner.call("subscribe", { topic: "course:c1" })).toMatchObject({ error: { code: "forbidden" } });
    const claims = { sub: "ines", role: "instructor" };
    const instructor = await enter(server.url, "/dashboard", await google.sign(claims));
    expect(await instructor.call("subscribe", { topic: "course:c1" })).toMatchObject({ ok: true });
    // The next token has no claim.
    expect(await instructor.call("token:refresh", { token: await google.sign({ sub: "ines" }) })).toMatchObject({
      ok: true,
    });
    expect(await instructor.hear("unsubscribed")).toMatchObject({ topic: "course:c1", error: { code: "forbidden" } });
  });

  it("accepts a fresh token of the same user on a socket, and refuses another user's", async () => {
    const player = await enter(server.url, "/player", await google.sign());
    const exp = Math.floor(Date.now() / 1000) + 1800;
    expect(await player.call("token:refresh", { token: await google.sign({ exp }) })).toEqual({
      ok: true,
      expiresAt: new Date(exp * 1000).toISOString(),
    });
    const others = await google.sign({ sub: "bob" });
    expect(await player.call("token:refresh", { token: others })).toMatchObject({ error: { code: "forbidden" } });
  });

  it("accepts built-in tokens too, and refuses logins while built-in accounts are off", async () => {
    await enter(server.url, "/player", await mintToken("carl"));
    const response = await fetch(`${server.url}/v1/auth/login`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ username: "carl", password: "whatever it is" }),
    });
    expect(response.status).toBe(403);
  });

  it.each(NAMESPACES)(
    "refuses bad tokens, and revoked, disabled and deleted users, at %s and over HTTP",
    async (namespace) => {
      google.users.set("revoked", { validSince: Math.floor(Date.now() / 1000) });
      google.users.set("disabled", { disabled: true });
      for (const token of [
        await google.sign({ sub: "revoked" }),
        await google.sign({ sub: "disabled" }),
        await google.sign({ sub: "deleted" }),
        await google.sign({ aud: "another-project" }),
        await google.sign({ exp: Math.floor(Date.now() / 1000) - 600 }),
      ]) {
        expect(await refusal(server.url, namespace, token)).toMatchObject({ code: "unauthenticated" });
        expect((await get(server.url, "/learn/api/progress/file/f1", token)).status).toBe(401);
      }
    },
  );

  it("counts the tokens that it checked", async () => {
    expect(await readMetric(server.url, "playhead_token_checks_total", 'kind="firebase",outcome="ok"')).toBeGreaterThan(
      0,
    );
    expect(
      await readMetric(server.url, "playhead_token_checks_total", 'kind="firebase",outcome="unauthenticated"'),
    ).toBeGreaterThan(0);
    expect(await readMetric(server.url, "playhead_token_checks_total", 'kind="builtin",outcome="ok"')).toBeGreaterThan(
      0,
    );
    expect(await readMetric(server.url, "playhead_google_requests_total", 'request="certificates"')).toBe(1);
  });
});

describe("a server that cannot reach Google", () => {
  it("answers Firebase tokens with `unavailable`, and serves built-in ones", async () => {
    google.manner = "fails";
    const server = await start();
    try {
      const token = await google.sign();
      for (const namespace of NAMESPACES) {
        expect(await refusal(server.url, namespace, token)).toMatchObject({
          code: "unavailable",
          retryAfterMs: expect.any(Number),
        });
        await enter(server.url, namespace, await mintToken("carl"));
      }
      const response = await get(server.url, "/learn/api/progress/file/f1", token);
      expect(response.status).toBe(503);
      expect(response.headers.get("retry-after")).toMatch(/^\d+$/);
      expect(await response.json()).toMatchObject({ code: "unavailable" });
    } finally {
      google.reset();
      await server.stop();
    }
  });
});
