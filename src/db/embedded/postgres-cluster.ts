import type { ChildProcess } from "node:child_process";
import { chown, mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "../../errors.ts";
import { findPostgresUser, loadPostgresBinaries, spawnPostgres } from "./postgres-binaries.ts";
import { processCommandLine, processExists, processStartMark } from "./process-info.ts";

/*
 * One PostgreSQL data directory: made, started, found again, stopped. PostgreSQL runs in a session of its own,
 * so that a Ctrl-C in the terminal reaches only us, and we end it when nothing needs it any more.
 */

/** The superuser of every cluster made here. */
export const CLUSTER_USER = "playhead";

/** How long a start waits for what a crash left behind: processes that still hold the shared memory, or the port. */
const LEFTOVERS_TIMEOUT_MS = 15_000;
/** Crash recovery of a full WAL takes its time; a PostgreSQL that is alive is given it. */
const READY_TIMEOUT_MS = 120_000;
const LOG_LIMIT_BYTES = 10_000_000;
const POLL_MS = 25;

/** For a small machine. `fsync` and `synchronous_commit` stay on: an acked heartbeat is on disk. */
const SETTINGS: Record<string, string> = {
  listen_addresses: "127.0.0.1",
  // No socket file: several servers on one machine would meet in /tmp.
  unix_socket_directories: "",
  max_connections: "100",
  shared_buffers: "256MB",
  max_locks_per_transaction: "256",
  // The build has pglz only. Compressing the images of pages that a checkpoint makes due takes three times the CPU that the
  // heartbeats on them take; written as they are, they are four times the WAL, so checkpoints are further apart.
  wal_compression: "off",
  max_wal_size: "2GB",
  checkpoint_timeout: "15min",
  timezone: "UTC",
  log_timezone: "UTC",
  log_checkpoints: "off",
};

export interface ClusterOptions {
  directory: string;
  /** Takes a free port where none is given. */
  port?: number;
  settings?: Record<string, string>;
}

/** A PostgreSQL that was started here. */
export interface RunningCluster {
  pid: number;
  port: number;
  /** Settles when it has ended, whoever ended it. */
  exited: Promise<void>;
  /** `fast` rolls back what is open and writes a checkpoint; `immediate` is a crash that leaves no processes. */
  stop(mode?: StopMode): Promise<void>;
}

export type StopMode = "fast" | "immediate";

/** Makes a data directory. It appears under its name only when it is whole: a crash meanwhile leaves none. */
export async function initCluster(options: { directory: string; password: string; sync?: boolean }): Promise<void> {
  const { directory, password, sync = true } = options;
  const [{ initdb }, user] = await Promise.all([loadPostgresBinaries(), findPostgresUser()]);
  const unfinished = `${directory}.unfinished`;
  const passwordFile = `${directory}.password-for-initdb`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  try {
    if (user !== null) {
      await chown(unfinished, user.uid, user.gid);
      await chown(passwordFile, user.uid, user.gid);
    }
    const args = [
      `--pgdata=${unfinished}`,
      `--username=${CLUSTER_USER}`,
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      // Text sorts by code point on every machine; upper and lower know all letters.
      "--encoding=UTF8",
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
      ...(sync ? [] : ["--no-sync"]),
    ];
    const child = await spawnPostgres(initdb, args, {
      user,
      directory: unfinished,
      env: childEnvironment(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    let output = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    const { failure } = await waitForExit(child);
    if (failure !== null) {
      throw new AppError("unavailable", `The embedded PostgreSQL could not be set up (${failure}). ${output.trim()}`);
    }
    await rename(unfinished, directory);
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/** Starts PostgreSQL in a directory that no other PostgreSQL uses, after what a crash left there is gone. */
export async function startCluster(options: ClusterOptions): Promise<RunningCluster> {
  const deadline = Date.now() + LEFTOVERS_TIMEOUT_MS;
  for (;;) {
    await clearPostmasterFile(options.directory);
    const attempt = await launch({ ...options, port: options.port ?? (await findFreePort()) });
    if ("cluster" in attempt) {
      return attempt.cluster;
    }
    // PostgreSQL's own words (in the C locale) are the only thing that tells a leftover from a lasting fault.
    const passing = /pre-existing shared memory block|lock file .* already exists|could not bind/.test(attempt.log);
    if (!passing || Date.now() > deadline) {
      throw new AppError(
        "unavailable",
        `The embedded PostgreSQL in ${options.directory} did not start (${attempt.failure}).\n${attempt.log.trim()}`,
      );
    }
    await delay(250);
  }
}

type Launch = { cluster: RunningCluster } | { failure: string; log: string };

async function launch(options: ClusterOptions & { port: number }): Promise<Launch> {
  const { directory, port } = options;
  const [{ postgres }, user] = await Promise.all([loadPostgresBinaries(), findPostgresUser()]);
  const settings = Object.entries({ ...SETTINGS, ...options.settings, port: String(port) });
  const log = await openLog(directory);
  let child: ChildProcess;
  try {
    child = await spawnPostgres(postgres, ["-D", directory, ...settings.flatMap(([k, v]) => ["-c", `${k}=${v}`])], {
      user,
      directory,
      detached: true,
      env: childEnvironment(),
      stdio: ["ignore", log.fd, log.fd],
    });
  } finally {
    await log.close();
  }
  const exit = waitForExit(child);
  const outcome = await Promise.race([exit, waitUntilReady(directory, child)]);
  if (outcome !== "ready") {
    await terminate(child.pid, exit, "fast");
    return { failure: outcome.failure ?? "it ended", log: await readFrom(log.path, log.size) };
  }
  // We end it ourselves; it must not keep the event loop alive for that.
  child.unref();
  const pid = child.pid as number;
  const exited = exit.then(() => undefined);
  return { cluster: { pid, port, exited, stop: (mode = "fast") => terminate(pid, exit, mode) } };
}

/** What `postmaster.pid` says of the PostgreSQL that uses a directory; null where none does. */
export async function findCluster(directory: string): Promise<{ pid: number; port: number; ready: boolean } | null> {
  const file = await readPostmasterFile(directory);
  return file !== null && (await isPostmasterOf(file.pid, directory)) ? file : null;
}

/** Stops a PostgreSQL that outlived the process that started it. */
export async function stopOrphan(pid: number): Promise<void> {
  const watch = async () => {
    while ((await processStartMark(pid)) !== null) {
      await delay(POLL_MS);
    }
    return { failure: null };
  };
  await terminate(pid, watch(), "fast");
}

interface Exit {
  failure: string | null;
}

function waitForExit(child: ChildProcess): Promise<Exit> {
  return new Promise((settle) => {
    child.once("error", (error) => settle({ failure: error.message }));
    // `close`, not `exit`: only then all of its output has been read.
    child.once("close", (code, signal) => settle({ failure: code === 0 ? null : `exit ${code ?? signal}` }));
  });
}

async function waitUntilReady(directory: string, child: ChildProcess): Promise<"ready" | Exit> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (Date.now() < deadline) {
    const file = await readPostmasterFile(directory);
    if (file?.pid === child.pid && file?.ready) {
      return "ready";
    }
    if (child.exitCode !== null || child.signalCode !== null) {
      return { failure: `exit ${child.exitCode ?? child.signalCode}` };
    }
    await delay(POLL_MS);
  }
  return { failure: `it was not ready after ${READY_TIMEOUT_MS / 1000} s` };
}

/** Asks to end, each time less politely: a stop must come to an end itself. */
async function terminate(pid: number | undefined, exit: Promise<Exit>, mode: StopMode): Promise<void> {
  const steps: [NodeJS.Signals, number][] = [
    ["SIGINT", 10_000],
    ["SIGQUIT", 5000],
    ["SIGKILL", 5000],
  ];
  for (const [signal, patienceMs] of mode === "fast" ? steps : steps.slice(1)) {
    if (pid === undefined || !sendSignal(pid, signal)) {
      return;
    }
    const abort = new AbortController();
    const gone = await Promise.race([
      exit.then(() => true),
      delay(patienceMs, false, { signal: abort.signal }).catch(() => false),
    ]);
    abort.abort();
    if (gone) {
      return;
    }
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

/**
 * PostgreSQL refuses to start while the pid in `postmaster.pid` exists, be it another program's by now, or an
 * unreaped one. Removing the file would also remove the key by which it finds leftovers of its own that still
 * use the shared memory; so the pid becomes its parent's, ours, which it takes for stale.
 */
async function clearPostmasterFile(directory: string): Promise<void> {
  const found = await readPostmasterFile(directory);
  if (found === null || !processExists(found.pid)) {
    return;
  }
  if (await isPostmasterOf(found.pid, directory)) {
    await stopOrphan(found.pid);
    return;
  }
  const path = join(directory, "postmaster.pid");
  const text = await readFile(path, "utf8");
  await writeFile(path, text.replace(/^-?\d+/, String(process.pid)));
}

async function isPostmasterOf(pid: number, directory: string): Promise<boolean> {
  if ((await processStartMark(pid)) === null) {
    return false;
  }
  const command = await processCommandLine(pid);
  // Where the command line cannot be read, a live pid has to be believed.
  return process.platform === "win32" || (command?.includes(`-D ${directory} `) ?? false);
}

/** Lines by number: 1 pid, 2 directory, 3 start, 4 port, 5 socket folder, 6 address, 7 shared memory, 8 status. */
async function readPostmasterFile(directory: string): Promise<{ pid: number; port: number; ready: boolean } | null> {
  const text = await readFile(join(directory, "postmaster.pid"), "utf8").catch(() => "");
  const lines = text.split("\n");
  const pid = Math.abs(Number(lines[0]));
  if (!Number.isInteger(pid) || pid === 0) {
    return null;
  }
  return { pid, port: Number(lines[3] ?? 0), ready: lines[7]?.trim() === "ready" };
}

/** PostgreSQL writes its log beside its data; the one before it is kept when it has grown large. */
async function openLog(directory: string) {
  const path = join(dirname(directory), "postgres.log");
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  if (size > LOG_LIMIT_BYTES) {
    await rename(path, `${path}.1`);
  }
  const file = await open(path, "a", 0o600);
  return { fd: file.fd, path, size: size > LOG_LIMIT_BYTES ? 0 : size, close: () => file.close() };
}

async function readFrom(path: string, offset: number): Promise<string> {
  const content = await readFile(path).catch(() => Buffer.alloc(0));
  return content.subarray(offset).toString("utf8").slice(-4000);
}

/** Without the caller's PGPORT, PGDATA and locale: they would change what starts, and what it says. */
function childEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name));
  return { ...Object.fromEntries(kept), LC_ALL: "C" };
}

async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}
