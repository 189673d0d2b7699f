import pg from "pg";
import { type LatencySummary, summarize } from "../harness/latency.ts";
import { readMachineCpu, readPostgresCpu } from "../harness/process-cpu.ts";
import { startWorker, type Worker } from "../harness/worker.ts";
import { type PlayheadServer, startPlayhead } from "../load/playhead-server.ts";
import { type Streams, toStreamKey } from "./keys.ts";
import type { ValidateLoad, ValidateResult } from "./media-servers.ts";

/*
 * Playhead and what it is compared with, measured the same way: answers within a window, how long they took, and whose
 * CPU it was.
 */

const SECRET = "loadtest-media-servers";
/** As many as a machine of two cores gains from. */
const HOOK_CONNECTIONS = 64;
const HOOK_POOL = 8;
const SELECT_CONNECTIONS = 8;
/** As Playhead answers a key that is good. */
const ACK = JSON.stringify([
  {
    ok: true,
    valid: true,
    stream: {
      id: "load-1234",
      userId: "loadtest-owner",
      title: "Load 1234",
      status: "live",
      keyPrefix: "phk_load00",
      bitrateKbps: null,
      viewers: null,
      expiresAt: null,
      startedAt: "2026-11-21T12:00:00.000Z",
      endedAt: null,
      version: 123_456,
    },
    sessionId: "00000000-0000-4000-8000-000000000000",
    lifetimeMs: 0,
  },
]);

/** What a window showed. */
export interface Seen {
  perSecond: number;
  latency: LatencySummary;
  outcomes: Record<string, number>;
  /** Of answers, the wrong keys' included, in µs; null where it is not known, or there is none. */
  serverMicros: number | null;
  postgresMicros: number | null;
  generatorMicros: number;
  /** Cores that nobody named here used. */
  foreignCores: number | null;
  lateMs: number;
  wrong: { perSecond: number; latency: LatencySummary; outcomes: Record<string, number> } | null;
}

type Result = Omit<ValidateResult, "wrong" | "lateMs"> & Partial<ValidateResult>;

export interface Contender {
  name: string;
  measure(load: ValidateLoad): Promise<Seen>;
}

export interface Contenders {
  server: PlayheadServer;
  playhead: Contender;
  echo: Contender;
  hook: Contender;
  select: Contender;
}

/** `streams` are those that the peers know, too. */
export async function openContenders(streams: Streams, profile: string | null): Promise<Contenders> {
  const server = await startPlayhead({ profile, env: { RTMP_SECRETS: SECRET } });
  const keys = Array.from({ length: streams.count }, (_, i) => toStreamKey(streams.from + i));
  const watch = createWatch(server);
  const ownCpu = async () => (await server.readMetrics()).get("playhead_process_cpu_seconds_total") ?? 0;
  const playheadClients = await startMediaServers(Number(new URL(server.url).port));

  const echoServer = startWorker(new URL("../peers/echo/echo-server.ts", import.meta.url));
  const { port } = await echoServer.call<{ port: number }>("start", { namespace: "/rtmp", ack: ACK });
  const echoClients = await startMediaServers(port);

  const databaseUrl = await createDatabase(server.databaseUrl, "peers");
  const hookServer = startWorker(new URL("../peers/publish-hook-server.ts", import.meta.url));
  const hook = await hookServer.call<{ port: number }>("start", { databaseUrl, poolSize: HOOK_POOL, keys });
  const hookClients = startWorker(new URL("../peers/publish-hook-clients.ts", import.meta.url));
  await hookClients.call("connect", { port: hook.port, connections: HOOK_CONNECTIONS, keys });
  const selecting = startWorker(new URL("../peers/select-by-key.ts", import.meta.url));
  await selecting.call("connect", { databaseUrl, connections: SELECT_CONNECTIONS, keys });

  const contender = (name: string, clients: Worker, cpu: (() => Promise<number>) | null): Contender => ({
    name,
    measure: (load) => watch(() => clients.call<Result>("load", load), cpu),
  });
  const cpuOf = (worker: Worker) => () => worker.call<number>("cpuSeconds");
  return {
    server,
    playhead: contender("Playhead", playheadClients, ownCpu),
    echo: contender("bare uWebSockets.js echo", echoClients, cpuOf(echoServer)),
    hook: contender("HTTP hook, SELECT and UPDATE", hookClients, cpuOf(hookServer)),
    select: contender("bare `pg` SELECT", selecting, null),
  };
}

async function startMediaServers(port: number): Promise<Worker> {
  const worker = startWorker(new URL("./media-servers.ts", import.meta.url));
  await worker.call("connect", { port, secret: SECRET });
  return worker;
}

function createWatch(server: PlayheadServer) {
  return async (work: () => Promise<Result>, serverCpu: (() => Promise<number>) | null): Promise<Seen> => {
    const read = () => Promise.all([serverCpu?.() ?? null, readPostgresCpu(server.dataDir), readMachineCpu()]);
    const before = await read();
    const startAt = performance.now();
    const result = await work();
    const seconds = (performance.now() - startAt) / 1000;
    const after = await read();
    const [ownCpu, postgresCpu, machineCpu] = after.map((value, i) => {
      const from = before[i] ?? null;
      return value === null || from === null ? null : value - from;
    });
    const answers = Math.max(1, sum(result.outcomes) + sum(result.wrong?.outcomes ?? {}), result.answered);
    const micros = (cpuSeconds: number | null | undefined) =>
      cpuSeconds == null ? null : (cpuSeconds * 1e6) / answers;
    const known = (ownCpu ?? 0) + (postgresCpu ?? 0) + result.cpuSeconds;
    const { wrong } = result;
    return {
      perSecond: result.answered / result.seconds,
      latency: summarize([result.latencies]),
      outcomes: result.outcomes,
      serverMicros: micros(ownCpu),
      postgresMicros: micros(postgresCpu),
      generatorMicros: micros(result.cpuSeconds) ?? 0,
      foreignCores: machineCpu == null ? null : Math.max(0, machineCpu - known) / seconds,
      lateMs: result.lateMs ?? 0,
      wrong:
        wrong === undefined || wrong.answered === 0
          ? null
          : {
              perSecond: wrong.answered / result.seconds,
              latency: summarize([wrong.latencies]),
              outcomes: wrong.outcomes,
            },
    };
  };
}

function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

async function createDatabase(url: string, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return url.replace(/[^/]+$/, name);
}
