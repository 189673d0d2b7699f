import { rm } from "node:fs/promises";
import { Redis } from "ioredis";
import { findFreePort } from "./free-port.ts";
import { type RunningProcess, runProgram } from "./run-process.ts";
import { makeTemporaryFolder } from "./temporary-folder.ts";
import { requireTool, TOOLS } from "./tools.ts";
import { waitFor } from "./wait-for.ts";

/** A real Redis on a free port of this machine, which a test may take down and bring back. It starts empty. */
export interface TestRedis {
  url: string;
  port: number;
  /** Ends Redis as a crash does: nothing is saved. */
  kill(): Promise<void>;
  /** Starts Redis again after `kill`, empty, on the same port. */
  start(): Promise<void>;
  /** Stops the process without ending it: its connections stay open. */
  freeze(): void;
  thaw(): void;
  /** Runs commands on a connection of their own. */
  ask<T>(question: (redis: Redis) => Promise<T>): Promise<T>;
  /** Ends Redis for good. */
  stop(): Promise<void>;
}

/** A node of a cluster listens 10,000 ports above its own as well; that port has to exist. */
const LAST_PORT = 55_000;

export async function startRedis(options: { args?: string[] } = {}): Promise<TestRedis> {
  const folder = await makeTemporaryFolder();
  const port = await findPort();
  const url = `redis://127.0.0.1:${port}`;
  const settings = { port, bind: "127.0.0.1", dir: folder, save: "", appendonly: "no" };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  let running: RunningProcess | null = null;

  async function start(): Promise<void> {
    running = runProgram(requireTool(TOOLS.redis), [...args, ...(options.args ?? [])]);
    await waitFor(() => ask((redis) => redis.ping()), { what: `Redis on port ${port}` });
  }

  async function kill(): Promise<void> {
    running?.child.kill("SIGKILL");
    await running?.exited;
  }

  async function ask<T>(question: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
    redis.on("error", () => undefined); // the question fails with it
    try {
      await redis.connect();
      return await question(redis);
    } finally {
      redis.disconnect();
    }
  }

  await start();
  return {
    url,
    port,
    kill,
    start,
    freeze: () => void running?.child.kill("SIGSTOP"),
    thaw: () => void running?.child.kill("SIGCONT"),
    ask,
    async stop() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Starts three masters that share the slots of a cluster. */
export async function startRedisCluster(): Promise<{ nodes: TestRedis[]; stop(): Promise<void> }> {
  const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
  const nodes = await Promise.all([1, 2, 3].map(() => startRedis({ args })));
  const share = Math.ceil(16_384 / nodes.length);
  for (const [i, node] of nodes.entries()) {
    const last = Math.min((i + 1) * share, 16_384) - 1;
    await node.ask((redis) => redis.call("CLUSTER", "ADDSLOTSRANGE", String(i * share), String(last)));
    const [first] = nodes;
    if (i > 0) await node.ask((redis) => redis.call("CLUSTER", "MEET", "127.0.0.1", String(first?.port)));
  }
  for (const node of nodes) {
    await waitFor(async () => (await node.ask((redis) => redis.cluster("INFO"))).includes("cluster_state:ok"), {
      what: `the cluster to be complete, as port ${node.port} sees it`,
      timeoutMs: 30_000,
    });
  }
  return {
    nodes,
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

async function findPort(): Promise<number> {
  for (;;) {
    const port = Number(await findFreePort());
    if (port < LAST_PORT) return port;
  }
}
