import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDashboard, type Dashboard, type Subscription } from "../../src/client/index.ts";
import { COURSE_ID, FILE_IDS, putLoadCourse, startFlowServer, users } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type Load, startLoad } from "../helpers/load-players.ts";
import { findBrokenPromises, findCuts } from "../helpers/oracle.ts";
import { startTestPostgres, type TestPostgres } from "../helpers/postgres.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import { createRandomOfRun } from "../helpers/random.ts";
import { startRedis, type TestRedis } from "../helpers/redis.ts";
import { readMetric } from "../helpers/server-calls.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Four processes, one database and one Redis. For a minute a random node is killed every five seconds, Redis twice and
 * PostgreSQL once. Players and dashboards are not touched: they have to come back by themselves.
 */

const NODES = 4;
const PLAYERS = 400;
const DASHBOARDS = 100;
const CHAOS_MS = 60_000;
const KILL_EVERY_MS = 5000;
/** The most that a node may hold when its clients are gone: far more than it needs, far less than a leak of this load. */
const HEAP_AT_REST = 200 * 1024 * 1024;

interface Node {
  port: string;
  server: ServerProcess;
}

interface Watching {
  dashboard: Dashboard;
  subscription: Subscription;
}

describe("four processes that are killed at random", () => {
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
    // One after the other: the first node migrates the database.
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

  /** A third of the dashboards watch the course, a third a learner in it, a third a file. */
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

  /**
   * Kills and restarts until the time is up, and tells what was killed, in order. The seed of the run chooses the nodes:
   * TEST_SEED repeats them.
   */
  async function killEverything(): Promise<string[]> {
    const random = createRandomOfRun();
    const restartAfterKills = new Map([
      [3, restartRedis],
      [6, restartPostgres],
      [9, restartRedis],
    ]);
    const killed: string[] = [];
    const startedAt = performance.now();
    for (let kill = 0; kill < CHAOS_MS / KILL_EVERY_MS; kill++) {
      await delay(Math.max(0, startedAt + (kill + 1) * KILL_EVERY_MS - performance.now()));
      const restart = restartAfterKills.get(kill);
      if (restart !== undefined) killed.push(await restart());
      const victim = random.below(NODES);
      await killNode(victim);
      killed.push(`node ${victim}`);
    }
    return killed;
  }

  async function restartRedis(): Promise<string> {
    await redis.kill();
    await redis.start();
    return "Redis";
  }

  async function restartPostgres(): Promise<string> {
    await postgres.killImmediately();
    await postgres.startAgain();
    return "PostgreSQL";
  }

  /** Waits until every dashboard shows the stored version of every row. */
  async function expectDashboardsLevel(): Promise<void> {
    let stale: string[] = [];
    const isLevel = async () => {
      stale = await findStale();
      return stale.length === 0;
    };
    await waitFor(isLevel, { what: "every dashboard to show the stored versions", timeoutMs: 30_000 }).catch(
      (cause) => {
        throw new Error(`${stale.length} rows are not as stored, such as ${stale.slice(0, 5).join("; ")}`, { cause });
      },
    );
  }

  /** Rows that a dashboard shows in another version than the stored one. */
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

  it("lose no acked heartbeat, show the newest state everywhere in the end, and leak nothing", async () => {
    const killed = await killEverything();
    await Promise.all(loads.map((load) => load.settle()));
    const streams = loads.flatMap((load) => load.streams);
    expect(await findBrokenPromises({ streams }, query, COURSE_ID)).toEqual([]);
    expect(findCuts({ streams })).toEqual([]);
    await expectDashboardsLevel();

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
    const sum = (pick: (load: Load) => number) => loads.reduce((total, load) => total + pick(load), 0);
    console.info(
      `${sum(({ ackedCount }) => ackedCount)} heartbeats acked, ${sum(({ refusals }) => refusals.length)} refused and sent ` +
        `again, ${sum(({ unanswered }) => unanswered)} unanswered; killed ${killed.join(", ")}; ` +
        `heaps at rest ${heaps.map((bytes) => Math.round(bytes / 1e6)).join(", ")} MB`,
    );
  });
});
