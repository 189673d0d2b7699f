import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { findFreePort } from "./free-port.ts";
import { readConfiguration, substitute } from "./how-to.ts";
import { makeTemporaryFolder } from "./temporary-folder.ts";
import { requireTool, TOOLS } from "./tools.ts";
import { waitFor } from "./wait-for.ts";

/** An nginx with its RTMP module, in a folder of its own. */
export interface Nginx {
  /** Encoders publish at `${rtmpUrl}/<key>`. */
  rtmpUrl: string;
  /** The URL that Playhead calls to cut a publisher. */
  controlUrl: string;
  readonly pid: number;
  /** Everything that it has written to its error log. */
  said(): string;
  /** Kills the master and its workers, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again on the same ports, after `kill`. */
  startAgain(): Promise<void>;
  /** As `nginx -s reload`. Resolves when a new worker accepts connections and the old worker only keeps its own. */
  reload(): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

export interface NginxOptions {
  /** Calls Playhead's port for hooks directly, in place of the first port through nginx's own proxy. */
  direct?: boolean;
  /** The address of that port of Playhead: `127.0.0.1:<port>`. */
  playhead: string;
  secret: string;
  /** The server's name in its hooks. */
  server: string;
  /** Each start names a new boot, by the script of the page. */
  boots?: boolean;
  /** More changes of the page's configuration, as for `substitute`. */
  changes?: Record<string, string>;
}

/** Folders for temporary files: only root may write to the usual ones. */
const TEMPORARY_PATHS = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
  .map((name) => `${name}_temp_path ${name};`)
  .join(" ");

/** Starts nginx with the configuration of docs/media-servers/nginx-rtmp.md, and waits until it listens. */
export async function startNginx(options: NginxOptions): Promise<Nginx> {
  const { direct = false, playhead, secret, server, boots = false, changes = {} } = options;
  const [rtmpPort, httpPort] = [await findFreePort(), await findFreePort()];
  const folder = await makeTemporaryFolder();
  const page = readConfiguration("nginx-rtmp", "nginx", direct ? "Configuration" : "Through nginx's own proxy");
  const configuration = substitute(page, {
    "listen 1935": `listen 127.0.0.1:${rtmpPort}`,
    "127.0.0.1:28080": `127.0.0.1:${httpPort}`,
    [direct ? "127.0.0.1:8088" : "127.0.0.1:8080"]: playhead,
    "server=ingest-1": `server=${server}`,
    "change-this-secret": secret,
    ...(direct ? {} : { "/run/": `${folder}/` }),
    "http {": `http { ${TEMPORARY_PATHS}`,
    ...changes,
  });
  const errorLog = join(folder, "error.log");
  await writeFile(join(folder, "nginx.conf"), configuration);
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    if (boots) {
      const script = substitute(readConfiguration("nginx-rtmp", "sh"), { "/run/": `${folder}/` });
      execFileSync("sh", ["-c", script]);
    }
    const settings = `daemon off; pid ${join(folder, "nginx.pid")};`;
    // A process group of its own: a master that is killed leaves its workers behind.
    const started = spawn(
      requireTool(TOOLS.nginx),
      ["-p", folder, "-c", "nginx.conf", "-e", errorLog, "-g", settings],
      { detached: true, stdio: "ignore" },
    );
    child = started;
    const ports = [rtmpPort, httpPort];
    await waitFor(async () => ended(started) || (await Promise.all(ports.map(listens))).every(Boolean), {
      what: "nginx to listen",
    });
    if (ended(started)) throw new Error(`nginx ended with ${started.exitCode}: ${readFileSync(errorLog, "utf8")}`);
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child === undefined || ended(child)) return;
    const gone = once(child, "exit");
    process.kill(-(child.pid as number), signal);
    await gone;
  }

  const onExit = () => {
    if (child !== undefined && !ended(child)) process.kill(-(child.pid as number), "SIGKILL");
  };
  process.once("exit", onExit);
  const stop = async () => {
    await end("SIGKILL");
    process.off("exit", onExit);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    rtmpUrl: `rtmp://127.0.0.1:${rtmpPort}/live`,
    controlUrl: `http://127.0.0.1:${httpPort}/control`,
    get pid() {
      return child?.pid as number;
    },
    said: () => readFileSync(errorLog, "utf8"),
    kill: () => end("SIGKILL"),
    startAgain: start,
    async reload() {
      const master = child?.pid as number;
      const old = findWorkers(master);
      process.kill(master, "SIGHUP");
      await waitFor(() => old.every(isShuttingDown) && findWorkers(master).length > old.length, {
        what: "another worker of nginx",
      });
    },
    stop,
  };
}

function ended(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function findWorkers(master: number): string[] {
  return readFileSync(`/proc/${master}/task/${master}/children`, "utf8").split(" ").filter(Boolean);
}

/** nginx writes it into the title of the process. */
function isShuttingDown(worker: string): boolean {
  return readFileSync(`/proc/${worker}/cmdline`, "utf8").includes("is shutting down");
}

function listens(port: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(port), "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
