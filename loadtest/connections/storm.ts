import { createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { startWorker, type Worker } from "../harness/worker.ts";
import { createDatabase, putCourses } from "../ingest/database.ts";
import { type PlayheadServer, startPlayhead } from "../load/playhead-server.ts";
import type { StormClients, StormReport } from "./storm-clients.ts";

/*
 * A node dies with all its connections, and is started again at once, as whoever watches over it would.
 */

export interface Storm {
  connections: number;
  sdkConnections: number;
  /** From its death until it took connections again. */
  startedAgainMs: number;
  /** From its death, of those who came back, in order. */
  connectedMs: number[];
  ackedMs: number[];
  missing: number;
  attempts: number;
  refused: Record<string, number>;
  /** Of the new process, from its start until all were back. */
  serverCpuSeconds: number;
}

const SHAPE = { courses: 10, files: 20 };
const RAW_PROCESSES = 2;
/** Others than the idle connections. */
const FIRST_USER = 2_000_000;
const GIVE_UP_MS = 60_000;
const SETTLE_MS = 3000;

/** `database` is a PostgreSQL that outlives the node. */
export async function measureStorm(
  database: { url: string },
  { connections, sdkConnections }: { connections: number; sdkConnections: number },
): Promise<Storm> {
  const databaseUrl = await createDatabase(database.url, "storm");
  const port = await findPort();
  const first = await startPlayhead({ env: { DATABASE_URL: databaseUrl, PORT: port } });
  await putCourses(first, SHAPE);
  const groups = await connectAll(first, { connections, sdkConnections });
  await pause(SETTLE_MS);
  const env = { DATABASE_URL: databaseUrl, AUTH_SECRET: first.secret, PORT: port };
  await Promise.all(groups.map((worker) => worker.call("forget")));

  const diedAt = performance.timeOrigin + performance.now();
  await first.kill();
  const second = await startPlayhead({ env });
  const startedAgainMs = performance.timeOrigin + performance.now() - diedAt;
  const giveUpAt = performance.now() + GIVE_UP_MS;
  let back = 0;
  while (back < connections && performance.now() < giveUpAt) {
    await pause(250);
    back = (await Promise.all(groups.map((worker) => worker.call<number>("countBack")))).reduce((a, b) => a + b, 0);
  }
  const serverCpuSeconds = (await second.readMetrics()).get("playhead_process_cpu_seconds_total") ?? Number.NaN;
  const reports = await Promise.all(groups.map((worker) => worker.call<StormReport>("report")));
  await Promise.all(groups.map((worker) => worker.stop()));
  await second.stop();

  const all = reports.flatMap((report) => report.back);
  const came = all.filter((one) => one !== null);
  const refused: Record<string, number> = {};
  for (const report of reports) {
    for (const [what, count] of Object.entries(report.refused)) refused[what] = (refused[what] ?? 0) + count;
  }
  return {
    connections,
    sdkConnections,
    startedAgainMs,
    connectedMs: came.map(({ connectedAt }) => connectedAt - diedAt).sort((a, b) => a - b),
    ackedMs: came.map(({ ackedAt }) => ackedAt - diedAt).sort((a, b) => a - b),
    missing: all.length - came.length,
    attempts: reports.reduce((sum, report) => sum + report.attempts, 0),
    refused,
    serverCpuSeconds,
  };
}

async function connectAll(
  server: PlayheadServer,
  { connections, sdkConnections }: { connections: number; sdkConnections: number },
): Promise<Worker[]> {
  const common = { url: server.url, secret: server.secret, shape: SHAPE };
  const raw = connections - sdkConnections;
  const share = Math.ceil(raw / RAW_PROCESSES);
  const plans: StormClients[] = [
    { ...common, kind: "sdk", firstUser: FIRST_USER, count: sdkConnections, localAddress: "127.0.0.4" },
    ...Array.from({ length: RAW_PROCESSES }, (_, i) => ({
      ...common,
      kind: "raw" as const,
      firstUser: FIRST_USER + sdkConnections + i * share,
      count: Math.min(share, raw - i * share),
      localAddress: `127.0.0.${5 + i}`,
    })),
  ];
  return await Promise.all(
    plans.map(async (plan) => {
      const worker = startWorker(new URL("./storm-clients.ts", import.meta.url));
      await worker.call("connect", plan);
      return worker;
    }),
  );
}

/** Below those that the kernel gives to clients: while the node is away, one of them might take it. */
async function findPort(): Promise<string> {
  for (let tries = 0; tries < 20; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen({ host: "127.0.0.1", port, exclusive: true }, () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return String(port);
  }
  throw new Error("no free port was found between 20000 and 30000; end what listens there");
}
