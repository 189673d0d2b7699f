import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { findRunningEmbeddedPostgres } from "../../src/db/embedded/embedded-postgres.ts";
import { endProcess, type Memory } from "../harness/child-process.ts";
import { assertRunning, makeTemporaryFolder, onEnd } from "../harness/cleanup.ts";
import { readMachine } from "../harness/process-cpu.ts";
import type { Readings } from "../harness/window.ts";
import { createMint, INSTRUCTOR_ID, makeCourseTree, type Shape, toCourseId } from "./catalogue.ts";

/*
 * Builds the server from the source, and starts it in its own process: with an embedded PostgreSQL, and with limits that no
 * load reaches.
 */

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** SIGUSR2 collects the server's garbage, before the load test reads its memory. */
const GC_ON_SIGNAL = "data:text/javascript,process.on('SIGUSR2',()=>globalThis.gc())";
const GC_SETTLE_MS = 300;
const STOP_TIMEOUT_MS = 20_000;

const ENVIRONMENT = {
  PATH: process.env.PATH,
  HOST: "127.0.0.1",
  PORT: "0",
  DEMO: "false",
  LOG_LEVEL: "error",
  RATE_LIMIT_BURST: "1000000",
  RATE_LIMIT_PER_SECOND: "1000000",
  MAX_CONNECTIONS_PER_USER: "1000000",
  DRAIN_MS: "0",
};

export interface PlayheadServer {
  url: string;
  secret: string;
  dataDir: string;
  databaseUrl: string;
  /** The samples of `/metrics`, by name with labels. */
  readMetrics(): Promise<Map<string, number>>;
  /** CPU of the server, of its PostgreSQL and of the machine; numbers of written rows and batches. */
  read(): Promise<Readings>;
  readMemory(): Promise<Memory>;
  putCourses(shape: Shape): Promise<void>;
  stop(): Promise<void>;
  /** Kills the server without warning. Resolves after it ended. */
  kill(): Promise<void>;
}

export interface StartOptions {
  /** The folder for a CPU profile. */
  profile?: string | null;
  /** Flags of Node: `--max-semi-space-size=64`. */
  nodeFlags?: string[];
  /** Environment variables that come on top of ENVIRONMENT. */
  env?: Readonly<Record<string, string>>;
}

export async function startPlayhead(options: StartOptions = {}): Promise<PlayheadServer> {
  built ??= buildServer();
  const main = await built;
  const dataDir = await makeTemporaryFolder();
  const secret = options.env?.AUTH_SECRET ?? randomBytes(32).toString("hex");
  const flags = ["--expose-gc", "--import", GC_ON_SIGNAL, ...(options.nodeFlags ?? [])];
  if (options.profile) {
    await mkdir(options.profile, { recursive: true });
    flags.push("--cpu-prof", `--cpu-prof-dir=${options.profile}`);
  }
  assertRunning();
  const env = { ...ENVIRONMENT, PLAYHEAD_DATA_DIR: dataDir, AUTH_SECRET: secret, ...options.env };
  const child = spawn(process.execPath, [...flags, main, "serve"], {
    cwd: dataDir,
    // In its own process group Ctrl-C does not reach the server: the cleanups stop it, after its load.
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
    env,
  });
  const stop = () => endProcess(child, "SIGTERM", STOP_TIMEOUT_MS);
  onEnd(stop);
  const url = await readUrl(child);
  const databaseUrl = options.env?.DATABASE_URL ?? (await findRunningEmbeddedPostgres(dataDir))?.url;
  if (databaseUrl === undefined) throw new Error("the server's PostgreSQL was not found");
  const readMetrics = async () => {
    const samples = (await (await fetch(`${url}/metrics`)).text()).matchAll(/^([^#\n].*) (\S+)$/gm);
    return new Map([...samples].map(([, name, value]) => [name as string, Number(value)]));
  };
  return {
    url,
    secret,
    dataDir,
    databaseUrl,
    readMetrics,
    async read() {
      const [metrics, machine] = await Promise.all([readMetrics(), readMachine(dataDir)]);
      const counter = (name: string) => metrics.get(`playhead_${name}`) ?? null;
      return {
        server: counter("process_cpu_seconds_total"),
        rows: counter("batch_size_sum"),
        batches: counter("batch_size_count"),
        ...machine,
      };
    },
    async readMemory() {
      child.kill("SIGUSR2");
      await pause(GC_SETTLE_MS);
      const metrics = await readMetrics();
      const gauge = (name: string) => metrics.get(`playhead_${name}`) ?? Number.NaN;
      return {
        residentBytes: gauge("process_resident_memory_bytes"),
        heapBytes: gauge("nodejs_heap_size_used_bytes"),
      };
    },
    putCourses: (shape) => putCourses({ url, secret }, shape),
    stop,
    kill: () => endProcess(child, "SIGKILL"),
  };
}

/** Puts the courses as an instructor does. */
async function putCourses({ url, secret }: { url: string; secret: string }, { courses, files }: Shape): Promise<void> {
  const token = await createMint(secret)(INSTRUCTOR_ID, "instructor");
  for (let course = 0; course < courses; course++) {
    const body = JSON.stringify(makeCourseTree(course, files));
    await fetchAs(token, `${url}/v1/courses/${toCourseId(course)}`, { method: "PUT", body });
  }
}

/** Calls the HTTP API. @throws Error with the answer, if its status is no success */
export async function fetchAs(token: string, url: string, init: RequestInit = {}): Promise<string> {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const response = await fetch(url, { ...init, headers });
  const text = await response.text();
  if (!response.ok) throw new Error(`${new URL(url).pathname} was answered ${response.status}: ${text}`);
  return text;
}

let built: Promise<string> | null = null;

/** Compiles the source into a temporary folder, once a run, and puts the files that the server reads beside it. */
async function buildServer(): Promise<string> {
  const folder = await makeTemporaryFolder({ isLast: true });
  const main = join(folder, "dist/main.js");
  const args = ["-p", "tsconfig.build.json", "--outDir", join(folder, "dist")];
  const { status, stdout } = spawnSync(join(ROOT, "node_modules/.bin/tsc"), args, { cwd: ROOT, encoding: "utf8" });
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
