import { setTimeout as pause } from "node:timers/promises";
import { startWorker } from "../harness/worker.ts";
import type { PlayheadServer } from "../load/playhead-server.ts";
import type { ProcessReadings } from "../peers/idle-sockets/process-readings.ts";
import type { Depth } from "./idle-clients.ts";

/** A server whose idle connections are measured. */
export interface Contender {
  name: string;
  url: string;
  /** How far a connection to it goes. */
  depth: Depth;
  /** What its process takes, garbage collected: the median of several readings. */
  read(): Promise<ProcessReadings>;
  /** Its CPU alone, at once. */
  readCpu(): Promise<number>;
}

export const PLAYHEAD = "Playhead";
export const SOCKETIO = "Socket.IO on `ws`";
export const BARE = "bare uWebSockets.js";

const READINGS = 5;
const SETTLE_MS = 1000;

export function toPlayheadContender(server: PlayheadServer): Contender {
  const read = async (): Promise<ProcessReadings> => {
    const metrics = await server.readMetrics();
    const figure = (name: string) => metrics.get(`playhead_${name}`) ?? Number.NaN;
    return {
      residentBytes: figure("process_resident_memory_bytes"),
      heapBytes: figure("nodejs_heap_size_used_bytes"),
      cpuSeconds: figure("process_cpu_seconds_total"),
    };
  };
  return {
    name: PLAYHEAD,
    url: server.url,
    depth: "namespace",
    read: () => readSettled(async () => server.collectGarbage(), read),
    readCpu: async () => (await read()).cpuSeconds,
  };
}

/** Socket.IO on Node's own server, and uWebSockets.js without anything. */
export async function startPeers(secret: string): Promise<Contender[]> {
  return [
    await startPeer(
      new URL("../peers/idle-sockets/socketio-server.ts", import.meta.url),
      SOCKETIO,
      "namespace",
      secret,
    ),
    await startPeer(new URL("../peers/idle-sockets/bare-server.ts", import.meta.url), BARE, "websocket", secret),
  ];
}

async function startPeer(file: URL, name: string, depth: Depth, secret: string): Promise<Contender> {
  const worker = startWorker(file);
  const { url } = await worker.call<{ url: string }>("start", { secret });
  const read = () => worker.call<ProcessReadings>("read");
  return {
    name,
    url,
    depth,
    read: () => readSettled(() => worker.call("collectGarbage"), read),
    readCpu: async () => (await read()).cpuSeconds,
  };
}

async function readSettled(
  collect: () => Promise<unknown>,
  read: () => Promise<ProcessReadings>,
): Promise<ProcessReadings> {
  const readings: ProcessReadings[] = [];
  for (let i = 0; i < READINGS; i++) {
    await collect();
    await pause(SETTLE_MS);
    readings.push(await read());
  }
  const middle = (pick: (reading: ProcessReadings) => number) =>
    readings.map(pick).sort((a, b) => a - b)[Math.floor(READINGS / 2)] as number;
  return {
    residentBytes: middle(({ residentBytes }) => residentBytes),
    heapBytes: middle(({ heapBytes }) => heapBytes),
    cpuSeconds: middle(({ cpuSeconds }) => cpuSeconds),
  };
}
