import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDashboard, type Dashboard } from "../../src/client/index.ts";
import { type Balancer, startBalancer } from "../helpers/balancer.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { COURSE_ID, FILE_IDS, putLoadCourse, startFlowServer, users } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type Load, startLoad } from "../helpers/load-players.ts";
import { namesIn, readExpressions } from "../helpers/monitoring.ts";
import { findBrokenPromises } from "../helpers/oracle.ts";
import { startRedis, type TestRedis } from "../helpers/redis.ts";
import { readMetric } from "../helpers/server-calls.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { type ConnectError, connect } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * The parts of docker-compose.yml as plain processes: PostgreSQL, Redis, two nodes, and nginx before them with the
 * configuration that is shipped.
 */

const PLAYERS = 12;

describe("two nodes behind the balancer", () => {
  let database: TestDatabase;
  let redis: TestRedis;
  let ports: [string, string];
  let nodes: [ServerProcess, ServerProcess];
  let balancer: Balancer;
  let load: Load | undefined;
  let dashboard: Dashboard | undefined;

  beforeAll(async () => {
    database = await createTestDatabase();
    redis = await startRedis();
    ports = [await findFreePort(), await findFreePort()];
    nodes = [await startNode(0), await startNode(1)];
    balancer = await startBalancer(ports);
    await putLoadCourse(balancer.url);
  });
  afterAll(async () => {
    load?.stop();
    dashboard?.close();
    await balancer?.stop();
    for (const node of nodes ?? []) await node.kill();
    await redis?.stop();
    await database?.drop();
  });

  function startNode(at: 0 | 1): Promise<ServerProcess> {
    return startFlowServer({
      PORT: ports[at],
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      TRUST_PROXY: "true",
    });
  }

  function socketsOf(at: 0 | 1): Promise<number> {
    return readMetric(nodes[at].url, "playhead_sockets");
  }

  it("are ready, each by itself and through the balancer, which does not serve their metrics", async () => {
    for (const url of [...nodes.map((node) => node.url), balancer.url]) {
      const response = await fetch(`${url}/readyz`);
      expect({ status: response.status, ...(await response.json()) }).toMatchObject({ status: 200, ok: true });
    }
    expect((await fetch(`${balancer.url}/metrics`)).status).toBe(404);
    expect((await fetch(`${balancer.url}/healthz`)).status).toBe(200);
  });

  it("serve every metric that the monitoring dashboard and the alerts name", async () => {
    for (const at of [0, 1] as const) {
      const shown = new Set(
        [...(await (await fetch(`${nodes[at].url}/metrics`)).text()).matchAll(/^# TYPE (\S+)/gm)].map(
          ([, name]) => name,
        ),
      );
      const missing = readExpressions().flatMap(({ from, expr }) =>
        namesIn(expr)
          .filter((name) => !shown.has(name))
          .map((name) => `${from}: ${name}`),
      );
      expect(missing).toEqual([]);
    }
  });

  it("take a client's address from the proxy's header, not from the proxy's connection", async () => {
    const codeOf = (address: string) =>
      connect(nodes[0].url, "/rtmp", "", { auth: { secret: "wrong" }, headers: { "x-forwarded-for": address } }).then(
        () => "let in",
        (error: unknown) => (error as ConnectError).data?.code,
      );
    const codes: (string | undefined)[] = [];
    for (let i = 0; i < 30; i++) codes.push(await codeOf("10.0.0.1, 192.0.2.1"));
    expect(codes.at(-1)).toBe("rate_limited");
    expect(await codeOf("192.0.2.1, 192.0.2.2")).toBe("unauthenticated");
  });

  it("show on one node what was played on the other", async () => {
    const [player, watcher] = [
      await connect(nodes[0].url, "/player", await mintToken("across")),
      await connect(nodes[1].url, "/dashboard", await mintToken("root", "admin")),
    ];
    try {
      expect(await watcher.call("subscribe", { topic: `course:${COURSE_ID}` })).toMatchObject({ ok: true });
      const beat = { fileId: FILE_IDS[0], position: 3, played: [[0, 3]], state: "playing" };
      expect(await player.call("heartbeat", beat)).toMatchObject({ ok: true });
      await watcher.hear("update", ({ progress }) => progress?.some((row) => row.userId === "across") ?? false);
      await watcher.hear("update", ({ present }) => present?.some((viewer) => viewer.userId === "across") ?? false);
    } finally {
      player.close();
      watcher.close();
    }
  });

  it("share the clients, who move to the other node when theirs is killed or stopped, and lose nothing", async () => {
    dashboard = createDashboard({ url: balancer.url, token: await mintToken("root", "admin") });
    const watched = dashboard.subscribe(`course:${COURSE_ID}`, () => undefined);
    load = await startLoad({ url: balancer.url, users: users(PLAYERS), fileIds: FILE_IDS.slice(0, 1), mintToken });
    await load.ackedMore(2 * PLAYERS);
    const shares = [await socketsOf(0), await socketsOf(1)];
    expect(shares.reduce((a, b) => a + b)).toBe(PLAYERS + 1);
    // least_conn shares evenly, except for connections that several workers of nginx open at the same moment.
    expect(Math.min(...shares)).toBeGreaterThanOrEqual(PLAYERS / 4);

    await nodes[0].kill();
    await waitFor(async () => (await socketsOf(1)) === PLAYERS + 1, {
      what: "all clients to be connected to the other node",
      timeoutMs: 30_000,
    });
    await load.ackedMore(2 * PLAYERS);
    expect((await fetch(`${balancer.url}/readyz`)).status).toBe(200);

    nodes[0] = await startNode(0);
    // Clients that leave the second node, as in a rolling restart, find the first.
    expect(await nodes[1].stop()).toBe(0);
    await waitFor(async () => (await socketsOf(0)) === PLAYERS + 1, {
      what: "all clients to be connected to the first node",
      timeoutMs: 30_000,
    });
    nodes[1] = await startNode(1);

    await load.ackedMore(2 * PLAYERS);
    await load.settle();
    await database.query("DELETE FROM users WHERE id = 'across'"); // a learner of another test
    expect(await findBrokenPromises(load, database.query, COURSE_ID)).toEqual([]);
    const stored = await database.query<{ userId: string; version: number }>(
      `SELECT user_id AS "userId", version FROM course_progress WHERE course_id = $1 ORDER BY 1`,
      [COURSE_ID],
    );
    const shown = () =>
      watched.current.courses
        .map(({ userId, version }) => ({ userId, version }))
        .sort((a, b) => (a.userId < b.userId ? -1 : 1));
    await waitFor(() => JSON.stringify(shown()) === JSON.stringify(stored), {
      what: "the dashboard, never reloaded, to show what is stored",
    });
    expect(watched.current.stale).toBe(false);
  });

  it("make nginx log no error but those of nodes that were killed or stopped", () => {
    const lines = balancer
      .errors()
      .split("\n")
      .filter((line) => line !== "");
    const expected = /Connection refused|prematurely closed|reset by peer|Broken pipe/;
    expect(lines.filter((line) => !expected.test(line))).toEqual([]);
  });
});
