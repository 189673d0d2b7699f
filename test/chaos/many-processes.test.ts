import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDashboard, type Dashboard, type Subscription } from "../../src/client/index.ts";
import { COURSE_ID, FILE_IDS, putLoadCourse, startFlowServer, users } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type Load, startLoad } from "../helpers/load-players.ts";
import { findBrokenPromises, findCuts } from "../helpers/oracle.ts";
import { startTestPostgres, type TestPostgres } from "../helpers/postgres.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import { startRedis, type TestRedis } from "../helpers/redis.ts";
import { readMetric } from "../helpers/server-calls.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Four processes, one database, one Redis, and everything that can die dies: nodes at random, Redis twice, PostgreSQL
 * once. Nobody who plays or watches does anything about it.
 */

const NODES = 4;
const PLAYERS = 400;
const DASHBOARDS = 100;
const CHAOS_MS = 60_000;
const KILL_EVERY_MS = 5000;
/** Of a node at rest, clients gone: far above what it takes, far below what a leak of this load makes of it. */
const HEAP_AT_REST = 200 * 1024 * 1024;

interface Node {
  port: string;
  server: ServerProcess;
}

interface Watching {
  dashboard: Dashboard;
  subscription: Subscription;
}

describe("four processes while everything dies", () => {
  let postgres: TestPostgres;
  let redis: TestRedis;
  let query: Query;
  let nodes: Node[];
  let loads: Load[];
  let watchers: Watching[];

  beforeAll(async () => {
    postgres = await startTestPostgres();
    redis = await startRedis();
    query = queryOf(postgres.url);
    nodes = [];
    // One after the other: the first migrates.
    for (let i = 0; i < NODES; i++) nodes.push(await startNode(await findFreePort()));
    await putLoadCourse(urlOf(0));
    loads = await Promise.all(
      nodes.map((_, i) =>
        startLoad({
          url: urlOf(i),
          users: users(PLAYERS).filter((_user, at) => at % NODES === i),
          fileIds: FILE_IDS.slice(0, 1),
          mintToken,
          paceMs: 1500,
          firstWindow: (i * PLAYERS) / NODES,
        }),
      ),
    );
    watchers = await Promise.all(Array.from({ length: DASHBOARDS }, (_, i) => watch(i)));
  });

  afterAll(async () => {
    for (const load of loads ?? []) load.stop();
    for (const { dashboard } of watchers ?? []) dashboard.close();
    for (const { server } of nodes ?? []) await server.kill();
    await redis?.stop();
    await postgres?.stop();
  });

  async function startNode(port: string): Promise<Node> {
    const env = { PORT: port, DATABASE_URL: postgres.url, REDIS_URL: redis.url, DATABASE_POOL_SIZE: "5" };
    return { port, server: await startFlowServer(env) };
  }

  function urlOf(node: number): string {
    return (nodes[node] as Node).server.url;
  }

  /** Some watch the course, some a learner in it, some a file. */
  async function watch(i: number): Promise<Watching> {
    const topics = [`course:${COURSE_ID}`, `course:${COURSE_ID}/user:learner-${i}`, `file:${FILE_IDS[0]}`];
    const dashboard = createDashboard({ url: urlOf(i % NODES), token: await mintToken("root", "admin") });
    return { dashboard, subscription: dashboard.subscribe(topics[i % topics.length] as string, () => undefined) };
  }

  async function killNode(at: number): Promise<void> {
    const node = nodes[at] as Node;
    await node.server.kill();
    node.server = (await startNode(node.port)).server;
  }

  /** Every row that is shown, on the version that is stored. */
  async function findStale(): Promise<string[]> {
    const versions = new Map(
      (
        await query<{ key: string; version: number }>(
          `SELECT 'progress ' || user_id || ' ' || file_id AS key, version FROM user_progress
           UNION ALL SELECT 'courses ' || user_id || ' ' || course_id, version FROM course_progress
           UNION ALL SELECT 'lessons ' || user_id || ' ' || lesson_id, version FROM lesson_progress`,
        )
      ).map(({ key, version }) => [key, version]),
    );
    return watchers.flatMap(({ subscription }) => {
      const view = subscription.current;
      const shown = [
        ...view.progress.map((row) => [`progress ${row.userId} ${row.fileId}`, row.version] as const),
        ...view.courses.map((row) => [`courses ${row.userId} ${row.courseId}`, row.version] as const),
        ...view.lessons.map((row) => [`lessons ${row.userId} ${row.lessonId}`, row.version] as const),
      ];
      if (view.stale || shown.length === 0) return [`${view.topic} is behind`];
      return shown
        .filter(([key, version]) => versions.get(key) !== version)
        .map(([key, version]) => `${view.topic}: ${key} at ${version}, stored ${versions.get(key)}`);
    });
  }

  it("loses no acked heartbeat, shows the newest state everywhere in the end, and leaks nothing", async () => {
    const startedAt = performance.now();
    const figures = { nodesKilled: 0, redisRestarts: 0, postgresRestarts: 0 };
    const died = new Set<string>();
    const atMs = (share: number) => startedAt + share * CHAOS_MS;
    const restarts = [
      { at: atMs(0.25), what: "redis" },
      { at: atMs(0.5), what: "postgres" },
      { at: atMs(0.75), what: "redis" },
    ];
    while (performance.now() - startedAt < CHAOS_MS) {
      const nextKill = startedAt + (figures.nodesKilled + 1) * KILL_EVERY_MS;
      await delay(Math.max(0, nextKill - performance.now()));
      const due = restarts.filter(({ at, what }) => at <= performance.now() && !died.has(`${what} ${at}`));
      for (const { what, at } of due) {
        died.add(`${what} ${at}`);
        if (what === "redis") {
          await redis.kill();
          await redis.start();
          figures.redisRestarts += 1;
        } else {
          await postgres.killImmediately();
          await postgres.startAgain();
          figures.postgresRestarts += 1;
        }
      }
      await killNode(Math.floor(Math.random() * NODES));
      figures.nodesKilled += 1;
    }
    const acked = () => loads.reduce((sum, load) => sum + load.ackedCount, 0);
    await Promise.all(loads.map((load) => load.settle()));

    const streams = loads.flatMap((load) => load.streams);
    expect(await findBrokenPromises({ streams }, query, COURSE_ID)).toEqual([]);
    expect(findCuts({ streams })).toEqual([]);
    let stale: string[] = [];
    await waitFor(
      async () => {
        stale = await findStale();
        return stale.length === 0;
      },
      { what: "every dashboard to show what is stored", timeoutMs: 30_000 },
    ).catch((error: unknown) => {
      throw new Error(`${stale.length} rows are not as stored, such as ${stale.slice(0, 5).join("; ")}`, {
        cause: error,
      });
    });
    expect(figures).toMatchObject({ redisRestarts: 2, postgresRestarts: 1 });

    const countRelays = async () => {
      const relays = await Promise.all(nodes.map((_, i) => readMetric(urlOf(i), "playhead_relay_active")));
      return relays.reduce((sum, one) => sum + one, 0);
    };
    await waitFor(async () => (await countRelays()) === 1, { what: "exactly one node to relay" });

    for (const load of loads) load.stop();
    for (const { dashboard } of watchers) dashboard.close();
    const heaps = [];
    for (const [i] of nodes.entries()) {
      await waitFor(async () => (await readMetric(urlOf(i), "playhead_sockets")) === 0, {
        what: "no socket to be left",
      });
      expect(await readMetric(urlOf(i), "playhead_topics")).toBe(0);
      expect(await readMetric(urlOf(i), "playhead_heartbeats_pending")).toBe(0);
      heaps.push(await readMetric(urlOf(i), "playhead_nodejs_heap_size_used_bytes"));
    }
    expect(Math.max(...heaps)).toBeLessThan(HEAP_AT_REST);
    const subscriptions = await redis.ask((client) => client.pubsub("CHANNELS", "playhead:course:*"));
    expect(subscriptions).toEqual([]);
    // The figures of the run, for whoever looks at it.
    console.info(
      `${acked()} heartbeats acked, ${loads.reduce((sum, { refusals }) => sum + refusals.length, 0)} refused and sent again, ` +
        `${loads.reduce((sum, { unanswered }) => sum + unanswered, 0)} unanswered; ${figures.nodesKilled} nodes killed, ` +
        `Redis restarted ${figures.redisRestarts} times, PostgreSQL ${figures.postgresRestarts}; ` +
        `heaps at rest ${heaps.map((bytes) => Math.round(bytes / 1e6)).join(", ")} MB`,
    );
  });
});
