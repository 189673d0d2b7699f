import { setTimeout as pause } from "node:timers/promises";
import { readMachineCpu, readPostgresCpu } from "../harness/process-cpu.ts";
import type { PlayheadServer } from "./playhead-server.ts";

/** What the server and its PostgreSQL did within a window. */
export interface Cost {
  heartbeats: number;
  rows: number;
  batches: number;
  serverCpuSeconds: number;
  postgresCpuSeconds: number | null;
  /** All processes of the machine. */
  machineCpuSeconds: number | null;
}

/** Reads the counters after the warm-up and at the end of the window. */
export async function watchCost(
  server: PlayheadServer,
  window: { warmupSeconds: number; seconds: number },
): Promise<Cost> {
  await pause(window.warmupSeconds * 1000);
  const before = await read(server);
  await pause(window.seconds * 1000);
  const after = await read(server);
  return {
    heartbeats: after.heartbeats - before.heartbeats,
    rows: after.rows - before.rows,
    batches: after.batches - before.batches,
    serverCpuSeconds: after.serverCpuSeconds - before.serverCpuSeconds,
    postgresCpuSeconds: difference(after.postgresCpuSeconds, before.postgresCpuSeconds),
    machineCpuSeconds: difference(after.machineCpuSeconds, before.machineCpuSeconds),
  };
}

/** By whose they are; without an entry where there is none, null where it is not known. */
export type Counts<K extends string> = Partial<Record<K, number | null>>;

/** By how much counters grew within a window: each is read after the warm-up and at the end. */
export async function watchCounters<K extends string>(
  readers: Partial<Record<K, () => Promise<number | null>>>,
  window: { warmupSeconds: number; seconds: number },
): Promise<Counts<K>> {
  const names = Object.keys(readers) as K[];
  const readAll = () => Promise.all(names.map((name) => readers[name]?.() ?? null));
  await pause(window.warmupSeconds * 1000);
  const before = await readAll();
  await pause(window.seconds * 1000);
  const after = await readAll();
  const grown = names.map((name, i) => [name, difference(after[i] ?? null, before[i] ?? null)]);
  return Object.fromEntries(grown) as Counts<K>;
}

function difference(after: number | null, before: number | null): number | null {
  return after === null || before === null ? null : after - before;
}

async function read(server: PlayheadServer): Promise<Cost> {
  const [metrics, postgresCpuSeconds, machineCpuSeconds] = await Promise.all([
    server.readMetrics(),
    readPostgresCpu(server.dataDir),
    readMachineCpu(),
  ]);
  return {
    heartbeats: metrics.get('playhead_heartbeats_total{outcome="ok"}') ?? 0,
    rows: metrics.get("playhead_batch_size_sum") ?? 0,
    batches: metrics.get("playhead_batch_size_count") ?? 0,
    serverCpuSeconds: metrics.get("playhead_process_cpu_seconds_total") ?? 0,
    postgresCpuSeconds,
    machineCpuSeconds,
  };
}

export function sumCosts(costs: Cost[]): Cost {
  const sum = (pick: (cost: Cost) => number | null) =>
    costs.reduce<number | null>((total, cost) => {
      const value = pick(cost);
      return total === null || value === null ? null : total + value;
    }, 0);
  return {
    heartbeats: sum((cost) => cost.heartbeats) ?? 0,
    rows: sum((cost) => cost.rows) ?? 0,
    batches: sum((cost) => cost.batches) ?? 0,
    serverCpuSeconds: sum((cost) => cost.serverCpuSeconds) ?? 0,
    postgresCpuSeconds: sum((cost) => cost.postgresCpuSeconds),
    machineCpuSeconds: sum((cost) => cost.machineCpuSeconds),
  };
}
