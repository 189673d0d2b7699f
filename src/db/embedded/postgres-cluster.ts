import type { ChildProcess } from "node:child_process";
import { open, readFile, rename, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "../../errors.ts";
import { type Exit, endPostgres, type StopMode, waitForExit } from "./end-process.ts";
import { findPostgresUser, loadPostgresBinaries, postgresEnvironment, spawnPostgres } from "./postgres-binaries.ts";
import { processCommandLine, processExists, processStartMark } from "./process-info.ts";

/*
 * Starts, finds and stops the PostgreSQL of a data directory. PostgreSQL runs in a session of its own, so a Ctrl-C in
 * the terminal reaches only this process, which ends PostgreSQL when nothing needs it any more.
 */

/** How long a start waits until processes that a crash left behind have given up the shared memory and the port. */
const LEFTOVERS_TIMEOUT_MS = 15_000;
/** Recovery after a crash with a full WAL takes long. PostgreSQL gets this time as long as it lives. */
const READY_TIMEOUT_MS = 120_000;
const LOG_LIMIT_BYTES = 10_000_000;
const POLL_MS = 25;

/** Settings for a small machine. `fsync` and `synchronous_commit` stay on: an acked heartbeat is on disk. */
const SETTINGS: Record<string, string> = {
  listen_addresses: "127.0.0.1",
  // No socket file: several servers on one machine would use the same one in /tmp.
  unix_socket_directories: "",
  max_connections: "100",
  shared_buffers: "256MB",
  max_locks_per_transaction: "256",
  // This build has pglz only. After each checkpoint PostgreSQL writes images of the pages that change. To compress an
  // image takes three times the CPU of the heartbeats on its page. Without compression the WAL is four times as long,
  // so checkpoints are rare.
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

/** A PostgreSQL that `startCluster` has started. */
export interface RunningCluster {
  pid: number;
  port: number;
  /** Resolves when PostgreSQL has ended, whatever ended it. */
  exited: Promise<void>;
  /** Resolves when PostgreSQL is gone; `fast` by default. */
  stop(mode?: StopMode): Promise<void>;
}

/**
 * Starts PostgreSQL in a directory. A PostgreSQL that a crash left running there is stopped first.
 * @throws AppError `unavailable` with PostgreSQL's own log
 */
export async function startCluster(options: ClusterOptions): Promise<RunningCluster> {
  const deadline = performance.now() + LEFTOVERS_TIMEOUT_MS;
  for (;;) {
    await clearPostmasterFile(options.directory);
    const attempt = await launch({ ...options, port: options.port ?? (await findFreePort()) });
    if ("cluster" in attempt) {
      return attempt.cluster;
    }
    // Only the text of the log (in the C locale) tells leftovers of a crash, which go away, from a lasting fault.
    const passing = /pre-existing shared memory block|lock file .* already exists|could not bind/.test(attempt.log);
    if (!passing || performance.now() > deadline) {
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
      env: postgresEnvironment(),
      stdio: ["ignore", log.fd, log.fd],
    });
  } finally {
    await log.close();
  }
  const exit = waitForExit(child);
  const outcome = await Promise.race([exit, waitUntilReady(directory, child)]);
  if (outcome !== "ready") {
    await endPostgres(child.pid, exit, "fast");
    return { failure: outcome.failure ?? "it ended", log: await readFrom(log.path, log.size) };
  }
  // The owner calls `stop`: PostgreSQL must not keep the event loop alive until then.
  child.unref();
  const pid = child.pid as number;
  const exited = exit.then(() => undefined);
  return { cluster: { pid, port, exited, stop: (mode = "fast") => endPostgres(pid, exit, mode) } };
}

/** Reads from `postmaster.pid` which PostgreSQL uses a directory; null where none runs. */
export async function findCluster(directory: string): Promise<{ pid: number; port: number; ready: boolean } | null> {
  const file = await readPostmasterFile(directory);
  return file !== null && (await isPostmasterOf(file.pid, directory)) ? file : null;
}

/** Stops a PostgreSQL whose owner has ended without stopping it. */
export async function stopOrphan(pid: number): Promise<void> {
  const watch = async () => {
    while ((await processStartMark(pid)) !== null) {
      await delay(POLL_MS);
    }
    return { failure: null };
  };
  await endPostgres(pid, watch(), "fast");
}

async function waitUntilReady(directory: string, child: ChildProcess): Promise<"ready" | Exit> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < deadline) {
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

/**
 * Makes sure that `postmaster.pid` stops no start. PostgreSQL refuses to start while the pid in it exists, even where
 * another program has this pid by now. The file must stay: by its key PostgreSQL finds processes that still use the
 * shared memory. So the pid is replaced by that of this process: PostgreSQL takes the pid of its parent for stale.
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
  // Windows shows no command line: there every live pid counts.
  return process.platform === "win32" || (command?.includes(`-D ${directory} `) ?? false);
}

/** Lines of the file: 1 pid, 2 directory, 3 start, 4 port, 5 socket folder, 6 address, 7 shared memory, 8 status. */
async function readPostmasterFile(directory: string): Promise<{ pid: number; port: number; ready: boolean } | null> {
  const text = await readFile(join(directory, "postmaster.pid"), "utf8").catch(() => "");
  const lines = text.split("\n");
  const pid = Math.abs(Number(lines[0]));
  if (!Number.isInteger(pid) || pid === 0) {
    return null;
  }
  return { pid, port: Number(lines[3] ?? 0), ready: lines[7]?.trim() === "ready" };
}

/** Opens the log beside the data directory. A log that has grown too large is renamed, and a new one begun. */
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
