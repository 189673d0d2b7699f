import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { Redis } from "ioredis";
import { makeTemporaryFolder } from "./temporary-folder.ts";
import { requireTool, TOOLS } from "./tools.ts";
import { waitFor } from "./wait-for.ts";

/*
 * A real Redis on a free port of this machine, empty, that a test may take down and bring back.
 */

export interface TestRedis {
  url: string;
  port: number;
  /** As a crash: nothing is saved. */
  kill(): Promise<void>;
  /** Comes back, empty, on the same port. */
  start(): Promise<void>;
  /** The process stands still, its connections stay open. */
  freeze(): void;
  thaw(): void;
  /** Asks it something. */
  ask<T>(question: (redis: Redis) => Promise<T>): Promise<T>;
  /** Ends it for good. */
  stop(): Promise<void>;
}

export async function startRedis(options: { args?: string[] } = {}): Promise<TestRedis> {
  const folder = await makeTemporaryFolder();
  const port = await findFreePort();
  const url = `redis://127.0.0.1:${port}`;
  let child: ChildProcess | null = null;

  async function start(): Promise<void> {
    const settings = [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--dir",
      folder,
      "--save",
      "",
      "--appendonly",
      "no",
    ];
    child = spawn(requireTool(TOOLS.redis), [...settings, ...(options.args ?? [])], { stdio: "ignore" });
    await waitFor(() => ask((redis) => redis.ping()), { what: `Redis on port ${port}` });
  }

  async function kill(): Promise<void> {
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
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
    freeze: () => void child?.kill("SIGSTOP"),
    thaw: () => void child?.kill("SIGCONT"),
    ask,
    async stop() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Three masters that share the slots. */
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

/** The port of a cluster's bus is 10,000 above; both have to fit. */
async function findFreePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, "close");
    if (port < 55_000) return port;
  }
}
