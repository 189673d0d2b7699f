import { connect as connectTcp, type Socket as TcpSocket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { startServerProcess } from "../helpers/server-process.ts";
import {
  type Client,
  type ConnectError,
  connect,
  connectRaw,
  connectRawTo,
  type Namespace,
} from "../helpers/socket-client.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken, tokens } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * How long a connection lives: until its token ends or the server stops. A user may have so many and no more.
 */

const COURSE = {
  title: "Course",
  instructorId: "ines",
  lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "File", durationSeconds: 100 }] }],
};
const CALLS = {
  "/player": ["progress:get", { fileId: "f1" }],
  "/dashboard": ["subscribe", { topic: "streams" }],
} as const;
const NAMESPACES: Namespace[] = ["/player", "/dashboard"];

let database: TestDatabase;
const open: { close(): unknown }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
});
afterEach(async () => {
  for (const client of open.splice(0)) await client.close();
});
afterAll(() => database.drop());

function keep<T extends { close(): unknown }>(client: T): T {
  open.push(client);
  return client;
}

async function isPast(instant: Date): Promise<void> {
  await waitFor(() => Date.now() > instant.getTime() + 300, { what: "the token to end" });
}

describe("a connection", () => {
  const CAP = 3;
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer(database, { MAX_CONNECTIONS_PER_USER: String(CAP), RATE_LIMIT_BURST: "10000" });
    await putCourse(server.url, "c1", COURSE);
  });
  afterAll(() => server.stop());

  // These tests wait for tokens to end, all at the same time. Each has a user of its own, and so limits of its own.
  describe.each(NAMESPACES)("to %s whose token ends", { concurrent: true }, (namespace) => {
    const [event, payload] = CALLS[namespace];

    it("is told before, and then accepts nothing more and is closed", async ({ task, onTestFinished }) => {
      const { token, expiresAt } = await tokens.mint({ userId: task.id, role: "learner" }, 2);
      const client = await connect(server.url, namespace, token);
      onTestFinished(client.close);
      expect(await client.hear("session:expiring")).toEqual({ expiresAt: expiresAt.toISOString() });
      expect(await client.call(event, payload)).toMatchObject({ ok: true });
      let accepted = 0;
      while (client.socket.connected) {
        const sentAt = Date.now();
        const answer = await Promise.race([client.call(event, payload), client.gone]);
        if (typeof answer !== "string" && answer.ok) {
          accepted += 1;
          expect(sentAt).toBeLessThan(expiresAt.getTime());
        }
      }
      expect(accepted).toBeGreaterThan(0);
      expect(await client.gone).toBe("io server disconnect");
    });

    it("goes on with the token that token:refresh brings", async ({ task, onTestFinished }) => {
      const { token, expiresAt } = await tokens.mint({ userId: task.id, role: "learner" }, 2);
      const client = await connect(server.url, namespace, token);
      onTestFinished(client.close);
      await client.hear("session:expiring");
      const next = await tokens.mint({ userId: task.id, role: "learner" });
      const answer = await client.call("token:refresh", { token: next.token });
      expect(answer).toEqual({ ok: true, expiresAt: next.expiresAt.toISOString() });
      await isPast(expiresAt);
      expect(await client.call(event, payload)).toMatchObject({ ok: true });
      expect(client.heard("session:expiring")).toHaveLength(1);
    });

    it("is asked for a new token again, but not at once, when it brings the old one", async ({
      task,
      onTestFinished,
    }) => {
      const { token, expiresAt } = await tokens.mint({ userId: task.id, role: "learner" }, 4);
      const client = await connect(server.url, namespace, token);
      onTestFinished(client.close);
      client.socket.on("session:expiring", () => client.socket.emit("token:refresh", { token }, () => undefined));
      expect(await client.call("token:refresh", { token })).toMatchObject({ ok: true });
      expect(await client.gone).toBe("io server disconnect");
      expect(Date.now()).toBeGreaterThanOrEqual(expiresAt.getTime() - 50);
      const told = client.heard("session:expiring").length;
      expect(told).toBeGreaterThan(1);
      expect(told).toBeLessThan(6);
    });

    it("does not go on with another user's token, nor with a token that has ended", async ({
      task,
      onTestFinished,
    }) => {
      const { token } = await tokens.mint({ userId: task.id, role: "learner" }, 2);
      const client = await connect(server.url, namespace, token);
      onTestFinished(client.close);
      const ended = await mintToken(task.id, "learner", -1);
      expect(await client.call("token:refresh", { token: await mintToken("mallory") })).toMatchObject({
        ok: false,
        error: { code: "forbidden" },
      });
      expect(await client.call("token:refresh", { token: ended })).toMatchObject({
        ok: false,
        error: { code: "unauthenticated" },
      });
      expect(await client.call(event, payload)).toMatchObject({ ok: true });
      expect(await client.gone).toBe("io server disconnect");
    });
  });

  it("loses the topics that its rights do not cover any more after a refresh", async () => {
    const client = keep(await connect(server.url, "/dashboard", await mintToken("ines", "instructor")));
    expect(await client.call("subscribe", { topic: "course:c1" })).toMatchObject({ ok: true });
    expect(await client.call("subscribe", { topic: "user:ines" })).toMatchObject({ ok: true });
    expect(await client.call("token:refresh", { token: await mintToken("ines", "learner") })).toMatchObject({
      ok: true,
    });
    expect(await client.hear("unsubscribed")).toMatchObject({ topic: "course:c1", error: { code: "forbidden" } });
    expect(client.heard("unsubscribed")).toHaveLength(1);
  });

  it("is refused with a code past its user's share, in every namespace, until one of the user's connections ends", async () => {
    const token = await mintToken("carl");
    const first = keep(await connect(server.url, "/player", token));
    keep(await connect(server.url, "/player", token));
    keep(await connect(server.url, "/dashboard", token));
    for (const namespace of NAMESPACES) {
      const failure = await connect(server.url, namespace, token).catch((error: unknown) => error);
      expect((failure as ConnectError).data).toMatchObject({ code: "rate_limited" });
    }
    keep(await connect(server.url, "/player", await mintToken("dora")));
    first.close();
    await expectRoomFor("carl", 1);
  });

  it("does not count any more when it ends during its handshake", async () => {
    const token = await mintToken("abby");
    for (let i = 0; i < 40; i++) {
      const client = await connectRaw(server.url);
      client.send(`40/player,${JSON.stringify({ token })}`);
      client.ws.terminate();
    }
    await expectRoomFor("abby", CAP);
  });

  it("counts once when it leaves a namespace and comes back", async () => {
    const token = await mintToken("bert");
    const client = keep(await connectRawTo(server.url, "/player", token));
    for (let i = 1; i <= 5; i++) {
      client.send(`40/dashboard,${JSON.stringify({ token })}`);
      await waitFor(() => client.frames.filter((frame) => /^4[04]\/dashboard,/.test(frame)).length === i, {
        what: `answer ${i}`,
      });
      client.send("41/dashboard,");
    }
    expect(client.frames.filter((frame) => frame.startsWith("44/dashboard,"))).toEqual([]);
  });

  /** Opens so many connections; the server may not have noticed yet that an earlier one ended. */
  async function expectRoomFor(userId: string, count: number): Promise<void> {
    const token = await mintToken(userId);
    for (let i = 0; i < count; i++) {
      await waitFor(async () => keep(await connect(server.url, "/player", token)), { what: `connection ${i + 1}` });
    }
  }
});

describe("a server that is told to stop", () => {
  it("tells its clients, takes calls that still come, answers calls that wait, and exits with 0", async () => {
    const server = await startServerProcess({ env: serverEnv(database, { DRAIN_MS: "2000" }) });
    await putCourse(server.url, "c1", COURSE);
    const player = keep(await connect(server.url, "/player", await mintToken("alice")));
    const waiting = keep(await connect(server.url, "/player", await mintToken("wendy")));
    const dashboard = keep(await connect(server.url, "/dashboard", await mintToken("ines", "instructor")));
    const raw = keep(await connectRawTo(server.url, "/player", await mintToken("rob")));
    const probe = await openProbe(server.url);
    expect(await probe.readyz()).toContain(" 200 ");

    const lock = keep(await lockUser("wendy"));
    const late = waiting.call("heartbeat", { fileId: "f1", position: 42 });
    await lock.awaited();

    server.process.child.kill("SIGTERM");
    for (const client of [player, dashboard] satisfies Client[]) {
      expect(await client.hear("server:draining")).toEqual({ reconnectInMs: 2000 });
    }
    expect(await probe.readyz()).toContain(" 503 ");
    await expect(openProbe(server.url)).rejects.toThrow("ECONNREFUSED");
    raw.send(`40/dashboard,${JSON.stringify({ token: await mintToken("rob") })}`);
    expect(await raw.hear((frame) => frame.startsWith("44/dashboard,"))).toContain('"code":"unavailable"');
    await lock.close();
    expect(await late).toMatchObject({ ok: true, progress: { position: 42 } });
    expect(await player.call("heartbeat", { fileId: "f1", position: 7 })).toMatchObject({ ok: true });

    expect(await player.gone).toMatch(/io server disconnect|transport close/);
    await raw.closed;
    probe.close();
    expect(await server.process.exited).toBe(0);
    expect(
      await database.query("select user_id, position_ms from user_progress where user_id = any($1) order by 1", [
        ["alice", "wendy"],
      ]),
    ).toEqual([
      { user_id: "alice", position_ms: 7000 },
      { user_id: "wendy", position_ms: 42_000 },
    ]);
  });

  it("answers heartbeats that it cannot write any more with an error, and exits with 1", async () => {
    const server = await startServerProcess({
      env: serverEnv(database, { SHUTDOWN_TIMEOUT_MS: "2000", LOG_LEVEL: "silent" }),
    });
    await putCourse(server.url, "c1", COURSE);
    const client = keep(await connect(server.url, "/player", await mintToken("will")));
    const lock = keep(await lockUser("will"));
    const answer = client.call("heartbeat", { fileId: "f1", position: 42 });
    await lock.awaited();
    server.process.child.kill("SIGTERM");
    expect(await answer).toMatchObject({ ok: false, error: { code: "unavailable" } });
    expect(await server.process.exited).toBe(1);
  });
});

/** Holds a user's lock, so that the user's heartbeats wait, until it is closed. */
async function lockUser(userId: string): Promise<{ awaited(): Promise<unknown>; close(): Promise<void> }> {
  const client = await database.pool.connect();
  await client.query("begin");
  await client.query("select pg_advisory_xact_lock(user_lock($1))", [userId]);
  let released: Promise<void> | undefined;
  return {
    awaited: () =>
      waitFor(
        async () =>
          (await database.query("select 1 from pg_locks where locktype = 'advisory' and not granted")).length > 0,
        { what: "the heartbeat to wait" },
      ),
    close: () => {
      released ??= client.query("commit").then(() => client.release());
      return released;
    },
  };
}

/** An HTTP connection that stays open: it alone can ask once the port is closed. */
async function openProbe(url: string): Promise<{ readyz(): Promise<string>; close(): void }> {
  const { hostname, port } = new URL(url);
  const socket: TcpSocket = connectTcp(Number(port), hostname);
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  let text = "";
  socket.setEncoding("utf8").on("data", (part) => {
    text += part;
  });
  socket.on("error", () => undefined);
  return {
    async readyz() {
      text = "";
      socket.write("GET /readyz HTTP/1.1\r\nHost: probe\r\n\r\n");
      return await waitFor(() => /^HTTP\S+ \d+ [^\r]*\r\n/.exec(text)?.[0], { what: "an answer of /readyz" });
    },
    close: () => socket.destroy(),
  };
}
