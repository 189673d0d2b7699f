import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import { onEnd } from "../harness/cleanup.ts";
import { readWholeNumber } from "../harness/flags.ts";
import { readMachineCpu, readPostgresCpu } from "../harness/process-cpu.ts";
import type { Run, Section, Subcommand } from "../harness/section.ts";
import { startWorker, type Worker } from "../harness/worker.ts";
import { putCourses, readAfter } from "../ingest/database.ts";
import { connectPlayers, loadPlayers, type PlayersLoad, startPlayers } from "../load/player-processes.ts";
import { type PlayheadServer, startPlayhead } from "../load/playhead-server.ts";
import type { MixedCounts, MixedLoad } from "./mixed-clients.ts";
import { toSection } from "./report.ts";
import { readTables, type TableState } from "./tables.ts";

/** What was seen after a slice of the load. */
export interface Sample {
  /** Since the load began, in minutes. */
  minute: number;
  /** Garbage collected. */
  residentBytes: number;
  heapBytes: number;
  tables: TableState[];
  load: PlayersLoad;
}

const SHAPE = { courses: 20, files: 20 };
const PLAYER_PROCESSES = 1;
const LIMIT_MINUTES = 60;
const SLICE_SECONDS = 10;
const QUICK_SLICE_SECONDS = 5;
const SATURATION = { warmupSeconds: 4, seconds: 6 };
const SETTLE_MS = 300;

export const soak: Subcommand = {
  name: "soak",
  summary: "ten minutes of mixed load: whether memory, tables and latencies stay as they are",
  flags: {
    "--minutes N": "how long (default 10)",
    "--rate N": "heartbeats a second (default: half of what a short saturation shows)",
    "--players N": "steady players (default 3000)",
  },
  limitSeconds: (LIMIT_MINUTES + 5) * 60,
  run: measureSoak,
};

async function measureSoak(run: Run): Promise<Section> {
  const { isQuick, flags, progress } = run;
  const minutes = readWholeNumber(flags, "minutes", { usual: isQuick ? 1 : 10, most: LIMIT_MINUTES });
  const players = readWholeNumber(flags, "players", { usual: isQuick ? 1000 : 3000, most: 15_000 });
  progress("building and starting the server", 0);
  const rtmpSecret = randomBytes(16).toString("hex");
  const server = await startPlayhead({ env: { RTMP_SECRETS: rtmpSecret } });
  await putCourses(server, SHAPE);
  const workers = startPlayers(PLAYER_PROCESSES);
  await connectPlayers(workers, { server, firstUser: 0, count: players, shape: SHAPE });
  const ratePerSecond =
    readWholeNumber(flags, "rate", { usual: 0, least: 0, most: 100_000 }) || (await halfOfTop(run, workers));

  const mixed = startWorker(new URL("./mixed-clients.ts", import.meta.url));
  await mixed.call("start", {
    url: server.url,
    secret: server.secret,
    rtmpSecret,
    shape: SHAPE,
    players,
  } satisfies MixedLoad);
  const database = new pg.Client({ connectionString: server.databaseUrl, application_name: "loadtest" });
  await database.connect();
  onEnd(() => database.end());

  const cpuBefore = await readCpu(server);
  const slice = { warmupSeconds: 0, seconds: isQuick ? QUICK_SLICE_SECONDS : SLICE_SECONDS, ratePerSecond };
  const samples: Sample[] = [];
  const startedAt = performance.now();
  const until = startedAt + minutes * 60_000;
  while (performance.now() < until) {
    progress(
      `${ratePerSecond} heartbeats a second`,
      0.05 + (0.9 * (performance.now() - startedAt)) / (until - startedAt),
    );
    const load = await loadPlayers(workers, slice);
    const memory = await readMemory(server);
    samples.push({
      minute: (performance.now() - startedAt) / 60_000,
      ...memory,
      tables: await readTables(database),
      load,
    });
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const cpuAfter = await readCpu(server);
  const counts = await mixed.call<MixedCounts>("stop");
  await pause(1000);
  const generatorSeconds = samples.reduce((sum, { load }) => sum + load.cpuSeconds, 0);
  return toSection({
    isQuick,
    minutes: seconds / 60,
    players,
    ratePerSecond,
    samples,
    counts,
    settings: await readSettings(database),
    after: await readAfter(server, SHAPE),
    serverCores: (cpuAfter.server - cpuBefore.server) / seconds,
    generatorCores: generatorSeconds / seconds,
    foreignCores: toForeign(cpuBefore, cpuAfter, generatorSeconds, seconds),
  });
}

/** A saturation shows the most; half of it leaves room for everything else. */
async function halfOfTop({ progress }: Run, workers: Worker[]): Promise<number> {
  progress("a short saturation, for the rate", 0.02);
  const { perSecond } = await loadPlayers(workers, SATURATION);
  return Math.max(100, Math.round(perSecond / 200) * 100);
}

async function readMemory(server: PlayheadServer): Promise<{ residentBytes: number; heapBytes: number }> {
  server.collectGarbage();
  await pause(SETTLE_MS);
  const metrics = await server.readMetrics();
  return {
    residentBytes: metrics.get("playhead_process_resident_memory_bytes") ?? Number.NaN,
    heapBytes: metrics.get("playhead_nodejs_heap_size_used_bytes") ?? Number.NaN,
  };
}

interface Cpu {
  server: number;
  postgres: number | null;
  machine: number | null;
}

async function readCpu(server: PlayheadServer): Promise<Cpu> {
  const [metrics, postgres, machine] = await Promise.all([
    server.readMetrics(),
    readPostgresCpu(server.dataDir),
    readMachineCpu(),
  ]);
  return { server: metrics.get("playhead_process_cpu_seconds_total") ?? Number.NaN, postgres, machine };
}

/** The clients of the mixed load are in it: they are few. */
function toForeign(before: Cpu, after: Cpu, generatorSeconds: number, seconds: number): number | null {
  if (before.machine === null || after.machine === null || before.postgres === null || after.postgres === null) {
    return null;
  }
  const ours = after.server - before.server + after.postgres - before.postgres + generatorSeconds;
  return Math.max(0, after.machine - before.machine - ours) / seconds;
}

async function readSettings(database: pg.Client): Promise<string> {
  const { rows } = await database.query<{ text: string }>(
    `SELECT string_agg(name || ' ' || setting || coalesce(' ' || unit, ''), ', ' ORDER BY name) AS text FROM pg_settings
     WHERE name IN ('autovacuum_naptime', 'autovacuum_vacuum_scale_factor', 'autovacuum_vacuum_threshold', 'autovacuum_vacuum_cost_delay')`,
  );
  return rows[0]?.text ?? "";
}
