import { startWorker } from "../harness/worker.ts";
import { catalogueFiles } from "../load/catalogue.ts";

/** The reference design, measured from outside. */
export interface RecountPeer {
  load(window: {
    warmupSeconds: number;
    seconds: number;
  }): Promise<{ acked: number; refused: Record<string, number>; latencies: string }>;
  cpuSeconds(): Promise<number>;
  clientCpuSeconds(): Promise<number>;
  stop(): Promise<void>;
}

/** Enough connections that two cores are busy while commits wait for the disk; no other number was tried. */
const POOL_SIZE = 24;
const CLIENTS = 96;

export async function startRecountPeer(options: {
  databaseUrl: string;
  secret: string;
  users: number;
  shape: { courses: number; files: number };
}): Promise<RecountPeer> {
  const { databaseUrl, secret, users, shape } = options;
  const server = startWorker(new URL("./recount-server.ts", import.meta.url));
  const clients = startWorker(new URL("./recount-clients.ts", import.meta.url));
  const { port } = await server.call<{ port: number }>("start", {
    databaseUrl,
    secret,
    poolSize: POOL_SIZE,
    files: catalogueFiles(shape),
  });
  await clients.call("connect", { port, secret, connections: Math.min(CLIENTS, users), users, shape });
  return {
    load: (window) => clients.call("load", window),
    cpuSeconds: () => server.call("cpuSeconds"),
    clientCpuSeconds: () => clients.call("cpuSeconds"),
    stop: async () => void (await Promise.all([server.stop(), clients.stop()])),
  };
}
