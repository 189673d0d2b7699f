import { open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { endPostgres, waitForExit } from "../../src/db/embedded/end-process.ts";
import {
  findPostgresUser,
  loadPostgresBinaries,
  postgresEnvironment,
  spawnPostgres,
} from "../../src/db/embedded/postgres-binaries.ts";
import { copyDataFolder, DATABASE, makeDataFolder, toUrl } from "./data-folder.ts";
import { type DatabaseAddress, openDatabaseAddress } from "./database-address.ts";
import { findFreePort } from "./free-port.ts";
import { startPostgresIn, type TestPostgres } from "./postgres.ts";
import { queryOf } from "./query.ts";
import { waitFor } from "./wait-for.ts";

/** The standby's name in `synchronous_standby_names`. */
export const STANDBY_NAME = "standby";

/** Nobody listens on this port. */
const NOWHERE = 1;

/** A PostgreSQL, and a standby that follows it. */
export interface PostgresPair {
  primary: TestPostgres;
  primaryPort: number;
  standby: TestStandby;
  /** The standby hears nothing more of the primary. */
  cutReplication(): void;
  /** It follows again. */
  restoreReplication(): void;
  stop(): Promise<void>;
}

export interface TestStandby {
  url: string;
  port: number;
  pid: number;
  /** Resolves when it takes writes. */
  promote(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts both on copies of one data folder: a standby may begin as a copy of a primary that was stopped. Resolves when
 * the standby follows.
 */
export async function startPostgresPair(settings: Record<string, string> = {}): Promise<PostgresPair> {
  const folder = await makeDataFolder();
  const copy = await copyDataFolder(folder);
  const primary = await startPostgresIn(folder, settings);
  const primaryPort = Number(new URL(primary.url).port);
  const replication = await openDatabaseAddress(primaryPort);
  const standby = await startStandby(copy, replication);
  await waitFor(async () => (await queryOf(primary.url)("SELECT FROM pg_stat_replication")).length === 1, {
    what: "the standby to follow",
    timeoutMs: 30_000,
  });
  return {
    primary,
    primaryPort,
    standby,
    cutReplication: () => replication.moveTo(NOWHERE),
    restoreReplication: () => replication.moveTo(primaryPort),
    async stop() {
      await standby.stop();
      await replication.stop();
      await primary.stop();
    },
  };
}

async function startStandby(folder: string, primary: DatabaseAddress): Promise<TestStandby> {
  const directory = join(folder, "postgres");
  const [{ postgres }, user, port] = await Promise.all([loadPostgresBinaries(), findPostgresUser(), findFreePort()]);
  await writeFile(join(directory, "standby.signal"), "", { mode: 0o644 });
  const from = new URL(primary.urlOf(toUrl(1, DATABASE)));
  const settings = {
    port,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    fsync: "off",
    max_connections: "100",
    max_locks_per_transaction: "256",
    primary_conninfo: `host=127.0.0.1 port=${from.port} user=${from.username} password=${from.password} application_name=${STANDBY_NAME}`,
    wal_retrieve_retry_interval: "200ms",
  };
  const log = await open(join(folder, "standby.log"), "a");
  const args = ["-D", directory, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
  const child = await spawnPostgres(postgres, args, {
    user,
    directory,
    env: postgresEnvironment(),
    stdio: ["ignore", log.fd, log.fd],
  });
  await log.close();
  const exit = waitForExit(child);
  const pid = child.pid as number;
  const url = toUrl(Number(port), DATABASE);
  const onExit = () => child.kill("SIGQUIT");
  process.once("exit", onExit);
  const isStandby = async () =>
    (await queryOf(url)<{ standby: boolean }>("SELECT pg_is_in_recovery() AS standby"))[0]?.standby;
  await waitFor(async () => (await isStandby()) === true, { what: "the standby to start", timeoutMs: 30_000 });
  return {
    url,
    port: Number(port),
    pid,
    async promote() {
      await queryOf(url)("SELECT pg_promote()");
      await waitFor(async () => (await isStandby()) === false, { what: "the standby to take over" });
    },
    async stop() {
      process.kill(pid, "SIGCONT");
      await endPostgres(pid, exit, "immediate");
      process.off("exit", onExit);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
