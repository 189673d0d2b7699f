import { setTimeout as pause } from "node:timers/promises";
import { type LatencySummary, summarize } from "../harness/latency.ts";
import { readMachineCpu } from "../harness/process-cpu.ts";
import type { Grow, Subscribe, Window, WindowResult } from "./audience.ts";
import type { Contender } from "./contenders.ts";

/** What one server did within one window. */
export interface Measured {
  deliveriesPerSecond: number;
  roundsPerSecond: number;
  bytesPerDelivery: number;
  cpuUs: number;
  databaseCpuUs: number | null;
  audienceCpuUs: number;
  latency: LatencySummary;
  unseen: number;
  closed: number;
  foreignCores: number | null;
}

export async function gather(contender: Contender, topics: string[], receivers: number, update: string): Promise<void> {
  const { audience, name, port, token, publisher } = contender;
  await audience.call("grow", { dialect: name, port, token, receivers } satisfies Grow);
  await audience.call("subscribe", { topics, receivers, publisher, update } satisfies Subscribe);
}

export async function measure(contender: Contender, window: Window): Promise<Measured> {
  const running = contender.audience.call<WindowResult>("measure", window);
  await pause(window.warmupSeconds * 1000);
  const before = await read(contender);
  await pause(window.seconds * 1000);
  const after = await read(contender);
  const result = await running;
  const { deliveries, seconds } = result;
  const each = (coreSeconds: number) => (deliveries === 0 ? 0 : (coreSeconds * 1e6) / deliveries);
  const serverCpu = after.server - before.server;
  const databaseCpu = difference(after.database, before.database);
  const machineCpu = difference(after.machine, before.machine);
  return {
    deliveriesPerSecond: deliveries / seconds,
    roundsPerSecond: result.rounds / seconds,
    bytesPerDelivery: deliveries === 0 ? 0 : result.bytes / deliveries,
    cpuUs: each(serverCpu),
    databaseCpuUs: databaseCpu === null ? null : each(databaseCpu),
    audienceCpuUs: each(result.cpuSeconds),
    latency: summarize([result.latencies]),
    unseen: result.unseen,
    closed: result.closed,
    foreignCores:
      machineCpu === null
        ? null
        : Math.max(0, machineCpu - serverCpu - (databaseCpu ?? 0) - result.cpuSeconds) / window.seconds,
  };
}

async function read(contender: Contender) {
  const [server, database, machine] = await Promise.all([
    contender.readCpu(),
    contender.readDatabaseCpu(),
    readMachineCpu(),
  ]);
  return { server, database, machine };
}

function difference(after: number | null, before: number | null): number | null {
  return after === null || before === null ? null : after - before;
}
