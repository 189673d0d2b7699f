import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";
import { assertRunning, onEnd } from "../../harness/cleanup.ts";
import { makeTemporaryFolder } from "../../harness/temporary-folder.ts";

const START_TIMEOUT_MS = 10_000;

/** Starts an empty Redis on a free port, that keeps nothing on disk; it ends with the run. @returns its URL; null where there is no `redis-server` */
export async function startRedisServer(): Promise<string | null> {
  const port = await findFreePort();
  const folder = await makeTemporaryFolder();
  assertRunning();
  const settings = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"];
  const child = spawn("redis-server", settings, { stdio: "ignore", detached: true });
  let isMissing = false;
  child.once("error", () => {
    isMissing = true;
  });
  onEnd(async () => {
    if (isMissing || child.exitCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  });
  const url = `redis://127.0.0.1:${port}`;
  const giveUpAt = performance.now() + START_TIMEOUT_MS;
  while (!isMissing && performance.now() < giveUpAt) {
    if (await answers(url)) return url;
    await pause(50);
  }
  if (isMissing) return null;
  throw new Error(`Redis did not answer on port ${port} within ${START_TIMEOUT_MS} ms`);
}

async function answers(url: string): Promise<boolean> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  redis.on("error", () => undefined); // it is not there yet
  try {
    await redis.connect();
    await redis.ping();
    return true;
  } catch {
    return false;
  } finally {
    redis.disconnect();
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
