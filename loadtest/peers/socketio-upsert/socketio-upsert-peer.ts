import { Redis } from "ioredis";
import { startRedis } from "../../../test/helpers/redis.ts";
import { onEnd } from "../../harness/cleanup.ts";
import { startWorker } from "../../harness/worker.ts";
import { catalogueFiles } from "../../load/catalogue.ts";
import type { StartUpsertServer } from "./server.ts";

/** Socket.IO with one upsert an event, measured from outside. */
export interface UpsertPeer {
  /** Players connect here as they do to Playhead. */
  url: string;
  /** Whether every event is emitted to its course's room, over Redis, too. */
  emit(whether: boolean): Promise<void>;
  cpuSeconds(): Promise<number>;
  redisCpuSeconds(): Promise<number>;
  stop(): Promise<void>;
}

/** As the other peer has. */
const POOL_SIZE = 24;

/** @throws Error that says how to install Redis where it is missing */
export async function startUpsertPeer(options: {
  databaseUrl: string;
  secret: string;
  shape: { courses: number; files: number };
}): Promise<UpsertPeer> {
  const { databaseUrl, secret, shape } = options;
  const redis = await startRedis();
  onEnd(() => redis.stop());
  const asking = new Redis(redis.url);
  // Redis goes before this is closed.
  asking.on("error", () => undefined);
  const server = startWorker(new URL("./server.ts", import.meta.url));
  const { port } = await server.call<{ port: number }>("start", {
    databaseUrl,
    redisUrl: redis.url,
    secret,
    poolSize: POOL_SIZE,
    files: catalogueFiles(shape),
  } satisfies StartUpsertServer);
  return {
    url: `http://127.0.0.1:${port}`,
    emit: (whether) => server.call("emit", whether),
    cpuSeconds: () => server.call("cpuSeconds"),
    redisCpuSeconds: async () => readCpu(await asking.info("cpu")),
    async stop() {
      await server.stop();
      asking.disconnect();
      await redis.stop();
    },
  };
}

/** Of all its threads, in core-seconds. */
function readCpu(info: string): number {
  const read = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(info)?.[1]);
  return read("used_cpu_user") + read("used_cpu_sys");
}
