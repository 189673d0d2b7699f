import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NotificationListener } from "../../src/live/relay/notification-listener.ts";
import { createLogger } from "../../src/logger.ts";
import { COURSE_ID, FILE_IDS, putLoadCourse, startFlowServer, users } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type Load, startLoad } from "../helpers/load-players.ts";
import { findBrokenPromises, findCuts } from "../helpers/oracle.ts";
import { startTestPostgres, type TestPostgres } from "../helpers/postgres.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import { createRandomOfRun } from "../helpers/random.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type WatchingDashboard, watchTopics } from "../helpers/watching-dashboard.ts";

/*
 * The database goes away in several ways, and comes back. The server recovers by itself, and no player or dashboard has
 * to reconnect.
 */

const PLAYERS = 40;
const COURSE_TOPIC = `course:${COURSE_ID}`;
const LESSON_TOPIC = "lesson:lesson-1";
const FILE_TOPIC = `file:${FILE_IDS[0]}`;
const LEARNER_TOPIC = `course:${COURSE_ID}/user:learner-0`;

/** Short, so that an outage of seconds has the effects of one that lasts minutes. */
const ENVIRONMENT = { ACK_DEADLINE_MS: "1500", QUERY_TIMEOUT_MS: "1500" };

describe("an outage of the database", () => {
  let postgres: TestPostgres;
  let query: Query;
  let server: ServerProcess;
  let load: Load;
  let dashboard: WatchingDashboard;

  beforeEach(async () => {
    postgres = await startTestPostgres();
    query = queryOf(postgres.url);
    server = await startFlowServer({ ...ENVIRONMENT, PORT: await findFreePort(), DATABASE_URL: postgres.url });
    await putLoadCourse(server.url);
    dashboard = await watchTopics({
      url: server.url,
      token: await mintToken("root", "admin"),
      topics: [COURSE_TOPIC, LESSON_TOPIC, FILE_TOPIC, LEARNER_TOPIC],
    });
    load = await startLoad({ url: server.url, users: users(PLAYERS), fileIds: FILE_IDS, mintToken });
    await load.ackedMore(PLAYERS);
  });
  afterEach(async () => {
    load?.stop();
    dashboard?.close();
    await server?.kill();
    await postgres?.stop();
  });

  async function readyStatus(): Promise<number> {
    return (await fetch(`${server.url}/readyz`)).status;
  }

  async function expectReady(status: 200 | 503): Promise<void> {
    await waitFor(async () => (await readyStatus()) === status, {
      what: `/readyz to say ${status}`,
      timeoutMs: 20_000,
    });
  }

  /** The process ids of the server's connections: writers, pool and listener. */
  async function findBackends(name = "playhead%"): Promise<number[]> {
    const rows = await query<{ pid: number }>("SELECT pid FROM pg_stat_activity WHERE application_name LIKE $1", [
      name,
    ]);
    return rows.map((row) => row.pid);
  }

  async function expectOneListener(): Promise<void> {
    await waitFor(async () => (await findBackends("playhead-listener")).length === 1, { what: "exactly one listener" });
  }

  /** Every beat is acked, stored and shown, by the same server process and on the same dashboard connection. */
  async function expectHealed(): Promise<void> {
    await load.settle();
    expect(await findBrokenPromises(load, query, COURSE_ID)).toEqual([]);
    expect(findCuts(load)).toEqual([]);
    await expectReady(200);
    await expectOneListener();
    await expectShown();
    expect(dashboard.connected()).toBe(true);
    expect(server.process.child.exitCode).toBeNull();
  }

  /** The dashboard shows every stored row in its stored version. */
  async function expectShown(): Promise<void> {
    const courses = await query<object>(
      `SELECT user_id AS "userId", watched_ms / 1000.0::float8 AS watched, version FROM course_progress ORDER BY user_id COLLATE "C"`,
    );
    const lessons = await query<object>(
      `SELECT user_id AS "userId", version FROM lesson_progress WHERE lesson_id = 'lesson-1' ORDER BY user_id COLLATE "C"`,
    );
    const files = await query<object>(
      `SELECT user_id AS "userId", position_ms / 1000.0::float8 AS position, version FROM user_progress WHERE file_id = $1 ORDER BY user_id COLLATE "C"`,
      [FILE_IDS[0]],
    );
    const own = await query<object>(
      `SELECT file_id AS "fileId", version FROM user_progress WHERE user_id = 'learner-0' ORDER BY file_id COLLATE "C"`,
    );
    expect(courses).toHaveLength(PLAYERS);
    await expect
      .poll(
        () =>
          byUser(dashboard.view(COURSE_TOPIC).courses.map((row) => ({ ...pick(row), watched: row.watchedDuration }))),
        POLL,
      )
      .toEqual(courses);
    await expect.poll(() => byUser(dashboard.view(LESSON_TOPIC).lessons.map(pick)), POLL).toEqual(lessons);
    await expect
      .poll(
        () => byUser(dashboard.view(FILE_TOPIC).progress.map((row) => ({ ...pick(row), position: row.position }))),
        POLL,
      )
      .toEqual(files);
    await expect
      .poll(
        () =>
          dashboard
            .view(LEARNER_TOPIC)
            .progress.map(({ fileId, version }) => ({ fileId, version }))
            .sort((a, b) => (a.fileId < b.fileId ? -1 : 1)),
        POLL,
      )
      .toEqual(own);
  }

  it("loses no beat when every connection is cut again and again under load", async () => {
    const random = createRandomOfRun();
    for (let round = 0; round < 10; round++) {
      await load.ackedMore(1 + random.below(2 * PLAYERS));
      await query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'playhead%'");
    }
    await load.ackedMore(PLAYERS);
    await expectHealed();
  });

  it("loses no beat when PostgreSQL crashes and comes back, and tells players when to try again", async () => {
    const refused = load.refused(({ code }) => code === "unavailable");
    await postgres.killImmediately();
    await expectReady(503);
    expect(await refused).toMatchObject({ code: "unavailable", retryAfterMs: expect.any(Number) });
    // Long enough that most players are refused.
    for (let i = 0; i < load.streams.length; i++) await load.refused(() => true);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    await postgres.startAgain();
    await load.ackedMore(PLAYERS);
    await expectHealed();
    expect(
      load.refusals.filter(({ code, retryAfterMs }) => code !== "unavailable" || retryAfterMs === undefined),
    ).toEqual([]);
  });

  it("takes the first heartbeat after an outage in which every player was refused and gave up", async () => {
    await postgres.killImmediately();
    await load.refused(({ code }) => code === "unavailable");
    load.hold();
    await waitFor(async () => /^playhead_heartbeats_pending 0$/m.test(await metrics()), { what: "nothing to wait" });
    await postgres.startAgain();
    await expectReady(200);
    load.reopen();
    await load.ackedMore(load.streams.length);
    await expectHealed();
  });

  it("opens new connections when the old ones freeze while nothing is written", async () => {
    await load.settle();
    const frozen = await findBackends();
    for (const pid of frozen) process.kill(pid, "SIGSTOP");
    try {
      load.resume();
      await load.ackedMore(2 * load.streams.length);
      await waitFor(async () => (await findBackends("playhead-listener")).some((pid) => !frozen.includes(pid)), {
        what: "a listener that is not frozen",
      });
      await expectReady(200);
    } finally {
      for (const pid of frozen) process.kill(pid, "SIGCONT");
    }
    await expectHealed();
  });

  it("shows dashboards the changes of a time in which no notification arrived", async () => {
    const [frozen] = (await findBackends("playhead-listener")) as [number];
    process.kill(frozen, "SIGSTOP");
    try {
      await load.ackedMore(PLAYERS);
      await load.settle();
      await waitFor(async () => (await findBackends("playhead-listener")).length > 1, { what: "another listener" });
      await expectShown();
    } finally {
      process.kill(frozen, "SIGCONT");
    }
    await expectHealed();
  });

  it("recovers when connections that froze in the middle of their work go on", async () => {
    const random = createRandomOfRun();
    for (let round = 0; round < 2; round++) {
      await load.ackedMore(1 + random.below(PLAYERS));
      const frozen = await findBackends();
      const refused = load.refused(({ code }) => code === "unavailable");
      const acked = load.ackedMore(2 * load.streams.length);
      for (const pid of frozen) process.kill(pid, "SIGSTOP");
      // A frozen connection that holds locks keeps the players waiting until they are refused. Without locks they go on.
      await Promise.race([refused, acked]);
      for (const pid of frozen) process.kill(pid, "SIGCONT");
    }
    await load.ackedMore(PLAYERS);
    await expectHealed();
  });

  async function metrics(): Promise<string> {
    return (await fetch(`${server.url}/metrics`)).text();
  }
});

describe("a listener whose LISTEN is never answered", () => {
  it("gives the connection up, and opens another", async () => {
    // A host behind a broken network: it accepts connections and then answers nothing.
    const authenticationOk = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]);
    const readyForQuery = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
    const opened: Socket[] = [];
    const silent = createServer((socket) => {
      opened.push(socket);
      socket.on("error", () => undefined); // the listener hangs up
      socket.once("data", () => socket.write(Buffer.concat([authenticationOk, readyForQuery])));
      socket.resume();
    }).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const listener = new NotificationListener({
      connectionString: `postgres://u:p@127.0.0.1:${port}/d`,
      handlers: {},
      onListening: () => undefined,
      logger: createLogger({ level: "silent" }),
    });
    void listener.start(); // settles when it is stopped
    await waitFor(() => opened.length > 1, { what: "a second connection", timeoutMs: 20_000 });
    expect(listener.listening).toBe(false);
    await listener.stop();
    for (const socket of opened) socket.destroy();
    silent.close();
  });
});

const POLL = { timeout: 15_000, interval: 50 };

function pick({ userId, version }: { userId: string; version: number }) {
  return { userId, version };
}

function byUser<Row extends { userId: string }>(rows: Row[]): Row[] {
  return rows.sort((a, b) => (a.userId < b.userId ? -1 : 1));
}
