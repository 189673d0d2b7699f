import { readMachineCpu, readPostgresCpu } from "../harness/process-cpu.ts";
import type { Site, SiteCounters } from "./site.ts";
import type { WorkloadName } from "./workload.ts";

/** What one window of batches, one after another, took. */
export interface Window {
  heartbeats: number;
  wallUs: number;
  /** Of this process within the writer: what the server's JavaScript costs. */
  serverUs: number;
  /** Of all of PostgreSQL, and of the checkpoint that writes to disk what the window left in memory. Null off Linux. */
  postgresUs: number | null;
  counters: SiteCounters;
  foreignCores: number | null;
}

export interface WindowOptions {
  site: Site;
  workload: WorkloadName;
  dataDir: string;
  warmupSeconds: number;
  seconds: number;
}

/** Every figure but the first is per heartbeat. */
export async function measureWindow(options: WindowOptions): Promise<Window> {
  const { site, workload, dataDir, warmupSeconds, seconds } = options;
  await site.checkpoint();
  const warmedAt = performance.now() + warmupSeconds * 1000;
  let warmBeats = 0;
  if (workload === "active") {
    for (const rows of site.workload.everyActive()) {
      await site.write(rows);
      warmBeats += rows.length;
    }
  }
  const warm = await writeFor(site, workload, (warmedAt - performance.now()) / 1000);
  warmBeats += warm.heartbeats;
  const [before, postgresBefore, machineBefore] = await readAll(site, dataDir);
  const ownBefore = process.cpuUsage();
  const startedAt = performance.now();
  const measured = await writeFor(site, workload, seconds);
  const elapsedSeconds = (performance.now() - startedAt) / 1000;
  const own = process.cpuUsage(ownBefore);
  const [after, postgresAfter, machineAfter] = await readAll(site, dataDir);
  await site.checkpoint();
  const postgresFlushed = await readPostgresCpu(dataDir);

  const { heartbeats } = measured;
  const postgres = difference(postgresAfter, postgresBefore);
  // What the warm-up left in memory is written by the same checkpoint.
  const flush = difference(postgresFlushed, postgresAfter);
  const machine = difference(machineAfter, machineBefore);
  const ownSeconds = (own.user + own.system) / 1e6;
  return {
    heartbeats,
    wallUs: (measured.wallMs * 1000) / heartbeats,
    serverUs: measured.cpuUs / heartbeats,
    postgresUs:
      postgres === null || flush === null
        ? null
        : (postgres * 1e6) / heartbeats + (flush * 1e6) / (heartbeats + warmBeats),
    counters: perHeartbeat(after, before, heartbeats),
    foreignCores:
      machine === null || postgres === null ? null : Math.max(0, machine - postgres - ownSeconds) / elapsedSeconds,
  };
}

async function writeFor(site: Site, workload: WorkloadName, seconds: number) {
  const endAt = performance.now() + seconds * 1000;
  let [heartbeats, wallMs, cpuUs] = [0, 0, 0];
  while (performance.now() < endAt) {
    const rows = site.workload.next(workload);
    const cpuBefore = process.cpuUsage();
    const startedAt = performance.now();
    await site.write(rows);
    wallMs += performance.now() - startedAt;
    const { user, system } = process.cpuUsage(cpuBefore);
    cpuUs += user + system;
    heartbeats += rows.length;
  }
  return { heartbeats, wallMs, cpuUs };
}

async function readAll(site: Site, dataDir: string) {
  return await Promise.all([site.readCounters(), readPostgresCpu(dataDir), readMachineCpu()]);
}

function difference(after: number | null, before: number | null): number | null {
  return after === null || before === null ? null : after - before;
}

function perHeartbeat(after: SiteCounters, before: SiteCounters, heartbeats: number): SiteCounters {
  const each = (name: keyof SiteCounters) => (after[name] - before[name]) / heartbeats;
  return {
    walBytes: each("walBytes"),
    fullPages: each("fullPages"),
    blocksRead: each("blocksRead"),
    // Counted, not shared out: one is one too many.
    sequentialScans: after.sequentialScans - before.sequentialScans,
    updates: each("updates"),
    hotUpdates: each("hotUpdates"),
  };
}
