import { setTimeout as pause } from "node:timers/promises";
import { readMachineCpu } from "../harness/process-cpu.ts";
import type { ProcessReadings } from "../peers/idle-sockets/process-readings.ts";
import type { Contender } from "./contenders.ts";
import type { Crowd } from "./crowd.ts";

/** What a server takes with so many idle connections. */
export interface Step extends Pick<ProcessReadings, "residentBytes" | "heapBytes"> {
  connections: number;
}

export interface Idle {
  contender: string;
  /** The first without any connection. */
  steps: Step[];
  /** Of the most connections; pings included. */
  cpuMicrosPerConnectionSecond: number;
  /** Cores that others took meanwhile, which have nothing to do with it. */
  foreignCores: number | null;
}

/** Connects in steps, reads what the server takes at each, and last what it does while nobody says anything. */
export async function measureIdle(
  { contender, crowd, secret }: { contender: Contender; crowd: Crowd; secret: string },
  { steps, cpuSeconds, onStep }: { steps: number[]; cpuSeconds: number; onStep: (connections: number) => void },
): Promise<Idle> {
  const { name, url, depth } = contender;
  const seen: Step[] = [{ connections: 0, ...(await contender.read()) }];
  let open = 0;
  for (const connections of steps) {
    onStep(connections);
    await crowd.connect({ url, depth, secret, firstUser: open, count: connections - open });
    open = connections;
    seen.push({ connections, ...(await contender.read()) });
    await crowd.assertOpen(open);
  }
  const readAll = () => Promise.all([contender.readCpu(), crowd.cpuSeconds(), readMachineCpu()]);
  const before = await readAll();
  await pause(cpuSeconds * 1000);
  const after = await readAll();
  await crowd.assertOpen(open);
  await crowd.close();
  const [server, clients] = [after[0] - before[0], after[1] - before[1]];
  const machine = after[2] === null || before[2] === null ? null : after[2] - before[2];
  return {
    contender: name,
    steps: seen,
    cpuMicrosPerConnectionSecond: (server * 1e6) / open / cpuSeconds,
    foreignCores: machine === null ? null : Math.max(0, machine - server - clients) / cpuSeconds,
  };
}

/** KB a connection, at the most connections over the process without any. */
export function kbOverEmpty({ steps }: Idle): number {
  return kbBetween(steps[0], steps.at(-1));
}

/** KB a connection from the first step on: what is made once, at the first connections, counts for none. */
export function kbOverFirst({ steps }: Idle): number {
  return kbBetween(steps[1], steps.at(-1));
}

function kbBetween(from: Step | undefined, to: Step | undefined): number {
  if (from === undefined || to === undefined) return Number.NaN;
  return (to.residentBytes - from.residentBytes) / (to.connections - from.connections) / 1024;
}
