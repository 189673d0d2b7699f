import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startRedis } from "../../test/helpers/redis.ts";
import { findTool, TOOLS } from "../../test/helpers/tools.ts";
import { type LoadChild, type ServerChild, startLoad, startServer } from "../harness/child-process.ts";
import { onEnd } from "../harness/cleanup.ts";
import type { StartBareServer } from "./bare-server.ts";
import type { ConnectPosts } from "./post-clients.ts";
import type { StartPostServer } from "./post-server.ts";
import type { ConnectSelects } from "./select-by-key.ts";
import type { StartSocketIoServer } from "./socketio-server.ts";

/*
 * Starts the contenders in processes of their own. `dataDir` is the folder of the PostgreSQL that a server uses.
 */

const INSTALL_TIMEOUT_MS = 90_000;
const fileOf = (name: string) => new URL(`./${name}`, import.meta.url);

export function openBareServer(argument: StartBareServer = {}, dataDir?: string): Promise<ServerChild> {
  return startServer(fileOf("bare-server.ts"), argument, dataDir);
}

export function openSocketIoServer(argument: StartSocketIoServer, dataDir?: string): Promise<ServerChild> {
  return startServer(fileOf("socketio-server.ts"), argument, dataDir);
}

/** Socket.IO with its Redis adapter. Null if `redis-server` is not installed. */
export async function openSocketIoWithRedis(
  argument: StartSocketIoServer,
  dataDir?: string,
): Promise<ServerChild | null> {
  if (findTool(TOOLS.redis) === null) return null;
  const redis = await startRedis();
  onEnd(() => redis.stop());
  const server = await openSocketIoServer({ ...argument, redisUrl: redis.url }, dataDir);
  const readRedis = () => redis.ask(async (client) => toRedisCpu(await client.info("cpu")));
  return { ...server, read: async () => ({ ...(await server.read()), Redis: await readRedis() }) };
}

function toRedisCpu(info: string): number {
  const read = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(info)?.[1]);
  return read("used_cpu_user") + read("used_cpu_sys");
}

/** A server that takes POSTs, and its clients. */
export async function openPosts(
  argument: StartPostServer,
  clients: Omit<ConnectPosts, "url">,
  dataDir: string,
): Promise<Pick<ServerChild, "read"> & Pick<LoadChild, "load">> {
  const { url, read } = await startServer(fileOf("post-server.ts"), argument, dataDir);
  const { load } = await startLoad(fileOf("post-clients.ts"), { ...clients, url } satisfies ConnectPosts);
  return { read, load };
}

export function openSelects(argument: ConnectSelects): Promise<LoadChild> {
  return startLoad(fileOf("select-by-key.ts"), argument);
}

/** soketi, which the first run installs. @returns a text with the reason if it cannot be installed */
export async function openSoketi(): Promise<ServerChild | string> {
  const cwd = fileURLToPath(fileOf("soketi"));
  if (!existsSync(`${cwd}/node_modules/@soketi/soketi/package.json`)) {
    const flags = ["--no-package-lock", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"];
    const failure = await promisify(execFile)("npm", ["install", ...flags], { cwd, timeout: INSTALL_TIMEOUT_MS }).then(
      () => null,
      (error: Error & { stderr?: string }) => error.stderr?.trim().split("\n").at(-1) ?? error.message,
    );
    if (failure !== null)
      return `soketi could not be installed (npm install in loadtest/contenders/soketi): ${failure}`;
  }
  return await startServer(fileOf("soketi/server.ts"), {});
}
