import { setTimeout as pause } from "node:timers/promises";
import { openBareServer, openSocketIoServer } from "../contenders/open.ts";
import type { Child, Memory, ServerChild } from "../harness/child-process.ts";
import { medianOf } from "../harness/statistics.ts";
import { type Contender, readBetween, toForeignCores } from "../harness/window.ts";
import type { PlayheadServer } from "../load/playhead-server.ts";
import type { LetInPlan } from "./idle-clients.ts";

/** An operation is a connection that the server lets in. */
export interface ConnectionsContender extends Contender<LetInPlan> {
  /** The median of several readings, each after a garbage collection. */
  readMemory(): Promise<Memory>;
}

/** The memory of a server with this number of idle connections. */
export interface MemoryStep extends Memory {
  connections: number;
}

export type Idle = Awaited<ReturnType<typeof measureIdle>>;

export const NAMES = {
  playhead: "Playhead",
  socketIo: "Socket.IO on `ws`",
  bare: "bare uWebSockets.js",
  engine: "Playhead, as far as Engine.IO",
} as const;

const READINGS = 5;
const SETTLE_MS = 1000;

/** Opens the contenders. The first is Playhead. */
export async function openContenders(server: PlayheadServer, clients: Child): Promise<ConnectionsContender[]> {
  const { secret } = server;
  const asServer = (child: ServerChild) => ({ ...child, readMemory: () => child.call<Memory>("readMemory") });
  const servers = {
    [NAMES.playhead]: server,
    [NAMES.socketIo]: asServer(await openSocketIoServer({ secret })),
    [NAMES.bare]: asServer(await openBareServer()),
  };
  return Object.entries(servers).map(([name, { url, read, readMemory }]) => ({
    name,
    prepare: () => clients.call("close"),
    read,
    load: (plan) => clients.call("load", { ...plan, url, secret }),
    readMemory: () => readSettled(readMemory),
  }));
}

async function readSettled(readMemory: () => Promise<Memory>): Promise<Memory> {
  const readings: Memory[] = [];
  for (let i = 0; i < READINGS; i++) {
    await pause(SETTLE_MS);
    readings.push(await readMemory());
  }
  return {
    residentBytes: medianOf(readings.map(({ residentBytes }) => residentBytes)),
    heapBytes: medianOf(readings.map(({ heapBytes }) => heapBytes)),
  };
}

/** A plan for this number of connections, as fast as possible. */
export function toLetInPlan(firstUser: number, operations: number): LetInPlan {
  return { warmupSeconds: 0, seconds: Number.POSITIVE_INFINITY, namespace: "/player", firstUser, operations };
}

/** Opens connections in steps and reads the memory after each step; at last reads the CPU of all idle connections. */
export async function measureIdle(
  { name, load, read, readMemory }: ConnectionsContender,
  clients: Child,
  { wanted, quietSeconds }: { wanted: number[]; quietSeconds: number },
) {
  const steps: MemoryStep[] = [{ connections: 0, ...(await readMemory()) }];
  let open = 0;
  for (const connections of wanted) {
    const { outcomes } = await load(toLetInPlan(open, connections - open));
    open = await clients.call<number>("countOpen");
    if (open !== connections) throw new Error(`${open} of ${connections} are open: ${JSON.stringify(outcomes)}`);
    steps.push({ connections, ...(await readMemory()) });
  }
  const readAll = async () => ({ ...(await read()), generator: await clients.call<number>("cpuSeconds") });
  const { grown, seconds } = await readBetween(readAll, () => pause(quietSeconds * 1000));
  const left = await clients.call<number>("countOpen");
  if (left !== open) throw new Error(`${name} closed ${open - left} of ${open} connections`);
  await clients.call("close");
  return {
    name,
    /** The first step has no connections. */
    steps,
    /** Memory of one connection: from no connection to the most. */
    kbOverEmpty: kbBetween(steps[0], steps.at(-1)),
    /** From the first connections to the most: without memory that the first connections allocate once. */
    kbOverFirst: kbBetween(steps[1], steps.at(-1)),
    /** With the most connections, pings included. */
    cpuMicrosPerConnectionSecond: ((grown.server ?? Number.NaN) * 1e6) / open / seconds,
    foreignCores: toForeignCores(grown, seconds),
  };
}

function kbBetween(from: MemoryStep | undefined, to: MemoryStep | undefined): number {
  if (from === undefined || to === undefined) return Number.NaN;
  return (to.residentBytes - from.residentBytes) / (to.connections - from.connections) / 1024;
}
