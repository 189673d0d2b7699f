import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Config, loadConfig } from "../../src/config.ts";
import { findRunningEmbeddedPostgres } from "../../src/db/embedded/embedded-postgres.ts";
import { assertRunning, onEnd } from "../harness/cleanup.ts";
import { makeTemporaryFolder } from "../harness/temporary-folder.ts";

/*
 * The real server in a process of its own: built for the run, with an embedded PostgreSQL of its own, limits out of
 * the way.
 */

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Lets a run collect garbage before it reads the memory in use. */
const GC_ON_SIGNAL = "data:text/javascript,process.on('SIGUSR2',()=>globalThis.gc())";
const STOP_TIMEOUT_MS = 20_000;

export interface PlayheadServer {
  url: string;
  secret: string;
  dataDir: string;
  databaseUrl: string;
  /** What it was started with. */
  config: Config;
  readMetrics(): Promise<Map<string, number>>;
  collectGarbage(): void;
  stop(): Promise<void>;
  /** Ends it as a power cut would; resolves when it is gone. */
  kill(): Promise<void>;
}

export interface StartOptions {
  /** WORKERS; by default 1. */
  workers?: number;
  /** WRITERS; by default the server's own default. */
  writers?: number;
  /** Where the CPU profile goes. */
  profile?: string | null;
  /** Flags of Node, such as `--max-semi-space-size=64`. */
  nodeFlags?: string[];
  /** More of the environment; it wins over what is set here. */
  env?: Readonly<Record<string, string>>;
}

export async function startPlayhead(options: StartOptions = {}): Promise<PlayheadServer> {
  const main = await buildOnce();
  const dataDir = await makeTemporaryFolder();
  const secret = options.env?.AUTH_SECRET ?? randomBytes(32).toString("hex");
  const flags = ["--expose-gc", "--import", GC_ON_SIGNAL, ...(options.nodeFlags ?? [])];
  if (options.profile) {
    await mkdir(options.profile, { recursive: true });
    flags.push("--cpu-prof", `--cpu-prof-dir=${options.profile}`);
  }
  assertRunning();
  const env = {
    PATH: process.env.PATH,
    HOST: "127.0.0.1",
    PORT: "0",
    PLAYHEAD_DATA_DIR: dataDir,
    AUTH_SECRET: secret,
    DEMO: "false",
    LOG_LEVEL: "error",
    ...(options.workers === undefined ? {} : { WORKERS: String(options.workers) }),
    ...(options.writers === undefined ? {} : { WRITERS: String(options.writers) }),
    RATE_LIMIT_BURST: "1000000",
    RATE_LIMIT_PER_SECOND: "1000000",
    MAX_CONNECTIONS_PER_USER: "1000000",
    DRAIN_MS: "0",
    ...options.env,
  };
  const child = spawn(process.execPath, [...flags, main, "serve"], {
    cwd: dataDir,
    // A group of its own: Ctrl-C reaches this process alone, which stops the server when its load has ended.
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
    env,
  });
  const stop = () => stopChild(child);
  onEnd(stop);
  const url = await readUrl(child);
  const databaseUrl = options.env?.DATABASE_URL ?? (await findRunningEmbeddedPostgres(dataDir))?.url;
  if (databaseUrl === undefined) throw new Error("the server's PostgreSQL was not found");
  return {
    url,
    secret,
    dataDir,
    databaseUrl,
    config: loadConfig(env),
    readMetrics: async () => parseMetrics(await (await fetch(`${url}/metrics`)).text()),
    collectGarbage: () => child.kill("SIGUSR2"),
    stop,
    async kill() {
      const exited = new Promise((resolve) => child.once("exit", resolve));
      if (child.kill("SIGKILL")) await exited;
    },
  };
}

let built: Promise<string> | null = null;

/** A run measures one build, however often it starts it. */
function buildOnce(): Promise<string> {
  built ??= buildServer();
  return built;
}

/** The source as it is now, compiled beside what it reads at run time. */
async function buildServer(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "playhead-loadtest-build-"));
  onEnd(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const tsc = join(ROOT, "node_modules/.bin/tsc");
  const main = join(folder, "dist/main.js");
  const { status, stdout } = spawnSync(tsc, ["-p", "tsconfig.build.json", "--outDir", join(folder, "dist")], {
    cwd: ROOT,
    encoding: "utf8",
  });
  if (!existsSync(main)) throw new Error(`the server does not build:\n${stdout}`);
  if (status !== 0) console.error(`the source has type errors; measured all the same:\n${stdout}`);
  await Promise.all([
    symlink(join(ROOT, "node_modules"), join(folder, "node_modules")),
    cp(join(ROOT, "package.json"), join(folder, "package.json")),
    cp(join(ROOT, "migrations"), join(folder, "migrations"), { recursive: true }),
  ]);
  return main;
}

function readUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      const url = /ready on (\S+)/.exec(said)?.[1];
      if (url !== undefined) resolve(url);
    });
    child.once("exit", (code, signal) => reject(new Error(`the server ended before it was ready (${signal ?? code})`)));
  });
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

/** Prometheus' text: every sample under its name with labels as written. */
function parseMetrics(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    const end = line.lastIndexOf(" ");
    if (!line.startsWith("#") && end > 0) samples.set(line.slice(0, end), Number(line.slice(end + 1)));
  }
  return samples;
}
