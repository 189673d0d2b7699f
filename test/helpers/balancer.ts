import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findFreePort } from "./free-port.ts";
import { substitute } from "./how-to.ts";
import { makeTemporaryFolder } from "./temporary-folder.ts";
import { requireTool, TOOLS } from "./tools.ts";
import { waitFor } from "./wait-for.ts";

const CONFIGURATION = join(import.meta.dirname, "../../deploy/nginx/nginx.conf");

/** An nginx that stands before nodes. */
export interface Balancer {
  url: string;
  /** What it has written to its error log. */
  errors(): string;
  stop(): Promise<void>;
}

/** Starts nginx with the configuration that is shipped, but for addresses, before two nodes on these ports. */
export function startBalancer(ports: readonly [string, string]): Promise<Balancer> {
  return startProxy(({ port, folder, errorLog }) =>
    substitute(readFileSync(CONFIGURATION, "utf8"), {
      "listen 8080": `listen 127.0.0.1:${port}`,
      // `resolve` takes nginx 1.27.3, and Docker's names: where there are neither, addresses stay what they are.
      "playhead-1:8080 resolve": `127.0.0.1:${ports[0]}`,
      "playhead-2:8080 resolve": `127.0.0.1:${ports[1]}`,
      "/tmp/": `${folder}/`,
      "/dev/stderr": errorLog,
    }),
  );
}

/** Where an nginx listens, and the folder for its files. */
interface ProxyPlace {
  port: string;
  folder: string;
  errorLog: string;
}

/** Starts nginx with the configuration that the function makes. */
export async function startProxy(configure: (place: ProxyPlace) => string): Promise<Balancer> {
  const port = await findFreePort();
  const folder = await makeTemporaryFolder();
  const errorLog = join(folder, "error.log");
  await writeFile(join(folder, "nginx.conf"), configure({ port, folder, errorLog }));
  // Its own process group: a master that is killed leaves its workers behind.
  const child = spawn(
    requireTool(TOOLS.nginx),
    ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", errorLog, "-g", "daemon off;"],
    { detached: true, stdio: ["ignore", "inherit", "inherit"] },
  );
  const onExit = () => end(child);
  process.once("exit", onExit);
  const url = `http://127.0.0.1:${port}`;
  const balancer: Balancer = {
    url,
    errors: () => readFileSync(errorLog, "utf8"),
    async stop() {
      process.off("exit", onExit);
      const gone = hasEnded(child) ? Promise.resolve() : once(child, "exit");
      end(child);
      await gone;
      await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    await waitFor(async () => hasEnded(child) || (await fetch(url)).status < 600, { what: "nginx to listen" });
    if (hasEnded(child)) throw new Error(`nginx ended with ${child.exitCode}: ${balancer.errors()}`);
    return balancer;
  } catch (error) {
    await balancer.stop();
    throw error;
  }
}

function end(child: ChildProcess): void {
  if (!hasEnded(child)) process.kill(-(child.pid as number), "SIGKILL");
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
