import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { processExists } from "../../src/db/embedded/process-info.ts";
import type { Update } from "../../src/protocol/dashboard.ts";
import { SERVER_MAIN } from "../helpers/built-server.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { runProcess } from "../helpers/run-process.ts";
import { putCourse, readMetric } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { type Client, connect } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Several workers on one port. Clients see one server, which goes on when a worker dies.
 */

const WORKERS = 3;
/** So many that every worker has some: one has none in one of a few million runs. */
const CONNECTIONS = 40;

describe("several workers on one port", () => {
  let database: TestDatabase;
  let server: ServerProcess;
  const clients: Client[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    server = await startServerProcess({ env: serverEnv(database, { WORKERS: String(WORKERS), DRAIN_MS: "300" }) });
    await putCourse(server.url, "c1", {
      title: "One",
      instructorId: "ines",
      lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "One", durationSeconds: 600 }] }],
    });
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });
  afterAll(async () => {
    await server?.kill();
    await database?.drop();
  });

  async function open(namespace: "/player" | "/dashboard", userId: string): Promise<Client> {
    const role = namespace === "/player" ? "learner" : "instructor";
    const client = await connect(server.url, namespace, await mintToken(userId, role));
    clients.push(client);
    return client;
  }

  async function watchEverywhere(): Promise<Client[]> {
    const dashboards = await Promise.all(Array.from({ length: CONNECTIONS }, () => open("/dashboard", "ines")));
    for (const dashboard of dashboards) {
      expect(await dashboard.call("subscribe", { topic: "course:c1" })).toMatchObject({ ok: true });
    }
    return dashboards;
  }

  /** The process ids of the supervisor's children. */
  function workers(supervisor = server.pid): number[] {
    const text = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, "utf8");
    return text.split(" ").filter(Boolean).map(Number);
  }

  /** Sends a heartbeat, and waits until each of the dashboards shows it. */
  async function expectSeen(watching: Client[], userId: string, position: number): Promise<void> {
    const player = await open("/player", userId);
    expect(
      await player.call("heartbeat", { fileId: "f1", position, played: [[position - 1, position]] }),
    ).toMatchObject({
      ok: true,
    });
    for (const dashboard of watching) {
      await dashboard.hear<Update>("update", ({ courses = [], present = [] }) =>
        [...courses, ...present].some((row) => row.userId === userId),
      );
    }
  }

  /** The clients whose worker lives. Socket.IO may not know yet that the worker of others is gone. */
  async function findServed(watching: Client[]): Promise<Client[]> {
    const served = await Promise.all(
      watching.map((client) =>
        Promise.race([
          client.call("unsubscribe", { topic: "streams" }).then(() => true),
          client.gone.then(() => false),
        ]),
      ),
    );
    return watching.filter((_, i) => served[i]);
  }

  it("show every dashboard the progress and presence of a player at any worker", async () => {
    const dashboards = await watchEverywhere();
    await expectSeen(dashboards, "alice", 5);
    for (const dashboard of dashboards) {
      await dashboard.hear<Update>("update", ({ present = [] }) => present.some(({ userId }) => userId === "alice"));
    }
  });

  it("show a late dashboard who is present at other workers", async () => {
    const first = await watchEverywhere();
    await expectSeen(first, "bob", 5);
    for (const late of await Promise.all(Array.from({ length: 10 }, () => open("/dashboard", "ines")))) {
      const { snapshot } = (await late.call("subscribe", { topic: "course:c1" })) as unknown as { snapshot: Update };
      await waitFor(
        () =>
          [snapshot, ...late.heard<Update>("update")].some(({ present = [] }) =>
            present.some(({ userId }) => userId === "bob"),
          ),
        { what: "bob to be shown" },
      );
    }
  });

  it("report the figures of all workers at /metrics, whichever worker answers", async () => {
    await watchEverywhere();
    for (let i = 0; i < 5; i++) {
      expect(await readMetric(server.url, "playhead_sockets", 'namespace="/dashboard"')).toBe(CONNECTIONS);
    }
    await waitFor(async () => (await readMetric(server.url, "playhead_relay_active")) === 1, { what: "one to relay" });
  });

  it("go on when one is killed: another relays within seconds, and a new one replaces it", async () => {
    for (let round = 0; round < WORKERS; round++) {
      const dashboards = await watchEverywhere();
      const before = workers();
      const victim = before[0] as number;
      process.kill(victim, "SIGKILL");
      await waitFor(() => dashboards.some(({ socket }) => !socket.connected), { what: "its clients to be gone" });
      const left = await findServed(dashboards);
      expect(left.length).toBeGreaterThan(0);
      await expectSeen(left, `survivor-${round}`, 5);
      await waitFor(() => workers().length === WORKERS && !workers().includes(victim), { what: "another worker" });
      await waitFor(async () => (await readMetric(server.url, "playhead_relay_active")) === 1, { what: "one relay" });
      for (const client of clients.splice(0)) client.close();
    }
  });

  it("all drain at SIGTERM, and leave no process behind", async () => {
    const dashboards = await watchEverywhere();
    const pids = workers();
    expect(pids).toHaveLength(WORKERS);
    const stopped = server.stop();
    for (const dashboard of dashboards) await dashboard.hear("server:draining", () => true);
    expect(await stopped).toBe(0);
    expect(pids.filter(processExists)).toEqual([]);
  });
});

describe("a supervisor", () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.drop());

  it("names the port that is taken, and starts no worker", async () => {
    const port = await findFreePort();
    const first = await startServerProcess({ env: serverEnv(database, { PORT: port }) });
    const second = runProcess(SERVER_MAIN, ["serve"], { env: serverEnv(database, { PORT: port, WORKERS: "2" }) });
    expect(await second.exited).toBe(1);
    expect(second.stderr()).toContain(`Cannot listen on 127.0.0.1:${port}`);
    await first.stop();
  });

  it("takes its workers with it when it is killed", async () => {
    const server = await startServerProcess({ env: serverEnv(database, { WORKERS: "2" }) });
    const pids = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, "utf8").split(" ").filter(Boolean);
    await server.kill();
    await waitFor(() => pids.map(Number).filter(processExists).length === 0, { what: "its workers to be gone" });
  });

  it("exits with the worker's own error when a worker cannot start", async () => {
    const server = runProcess(SERVER_MAIN, ["serve"], {
      env: serverEnv(database, { WORKERS: "2", DATABASE_URL: "postgres://127.0.0.1:1/nowhere" }),
    });
    expect(await server.exited).toBe(1);
    expect(server.stderr()).toMatch(/ECONNREFUSED|database/i);
  });
});
