import { randomBytes } from "node:crypto";
import { statfs } from "node:fs/promises";
import { freemem, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { CLUSTER_USER, initCluster } from "../../src/db/embedded/init-cluster.ts";
import { startCluster } from "../../src/db/embedded/postgres-cluster.ts";
import { makeTemporaryFolder, onEnd } from "../harness/cleanup.ts";
import { FlagError, readWholeNumber } from "../harness/flags.ts";
import { type Findings, type Run, type Subcommand, type Tell, within } from "../harness/section.ts";
import { sumOf } from "../harness/statistics.ts";
import { whole } from "../harness/table.ts";
import { type Contender, measureInTurn, type Summary } from "../harness/window.ts";
import { withClient } from "../load/database.ts";
import { FILES_A_USER, fillDatabase } from "./fill.ts";
import { type Cost, type Kind, toSection } from "./section.ts";
import { openSizedDatabase, type SizedDatabase, type SizeFigures } from "./sized-database.ts";

/*
 * The steps of a run: fill a database of each size; measure all sizes in turn, in windows of each kind; inspect plans and
 * sums.
 */

const SIZES = [10_000, 1_000_000, 10_000_000];
const QUICK_SIZES = [10_000, 100_000, 500_000];
const LEAST_ROWS = 10_000;
/** Disk for a row, its indexes and sums, and the log of the fill. Measured: 0.9 KB without the log. */
const DISK_BYTES_A_ROW = 1500;
/** The number of users in the smallest size. */
const MOST_BATCH = 1000;
const WARMUP_SECONDS = 2;
/** A backend reads changed settings after its statement. */
const RELOAD_MS = 500;

export const growth: Subcommand = {
  name: "growth",
  summary: "the cost of a heartbeat with 10 thousand, 1 million and 10 million rows of progress",
  flags: {
    "--rows LIST": "rows of user_progress (default 10000,1000000,10000000)",
    "--seconds N": "length of a window (default 5)",
    "--rounds N": "windows of each kind, of which the median counts (default 3)",
    "--batch N": "heartbeats in a batch (default 500)",
  },
  limitSeconds: 720,
  run: measureGrowth,
};

async function measureGrowth(run: Run): Promise<Findings> {
  const { isQuick, flags, tell } = run;
  const seconds = readWholeNumber(flags, "seconds", { usual: isQuick ? 2 : 5, most: 30 });
  const rounds = readWholeNumber(flags, "rounds", { usual: isQuick ? 1 : 3, most: 9 });
  const batchSize = readWholeNumber(flags, "batch", { usual: 500, most: MOST_BATCH });
  const wanted = readSizes(run);
  const sizes = await keepWhatFits(wanted);

  tell("starting PostgreSQL", 0);
  const cluster = await openCluster();
  const startedAt = performance.now();
  const databases = await fillAll(cluster, { sizes, batchSize }, within(tell, 0, 0.45));
  const fillSeconds = (performance.now() - startedAt) / 1000;
  const sharedBuffers = await cluster.readSharedBuffers();
  const costs: Cost[] = [];
  const measure = async (kinds: readonly { kind: Kind; some: SizedDatabase[] }[], from: number, to: number) => {
    const turns = kinds.flatMap(({ kind, some }) => some.map((database) => ({ kind, database })));
    const contenders = turns.map(({ kind, database }) => toContender(cluster, kind, database));
    const planOf = () => ({ warmupSeconds: WARMUP_SECONDS, seconds });
    const summaries = await measureInTurn(contenders, { rounds, planOf, tell: within(tell, from, to) });
    costs.push(...turns.map(({ kind, database }, i) => ({ ...(summaries[i] as Summary), kind, rows: database.rows })));
  };
  await measure(
    [
      { kind: "active", some: databases },
      { kind: "uniform", some: databases },
      { kind: "pageless", some: databases.slice(-1) },
    ],
    0.45,
    0.8,
  );
  // The advice of PostgreSQL's documentation for a machine that runs nothing else.
  await cluster.restart({ shared_buffers: `${Math.floor(totalmem() / 4 / 2 ** 20)}MB` });
  await measure([{ kind: "buffered", some: databases }], 0.8, 0.95);

  tell("plans and sums", 0.95);
  const figures: SizeFigures[] = [];
  for (const database of databases) figures.push(await database.inspect());
  const largeBuffers = await cluster.readSharedBuffers();
  const settings = { seconds, rounds, batchSize, sharedBuffers, largeBuffers };
  return toSection({ sizes: figures, costs, wanted, fillSeconds, freeMemoryMb: freemem() / 2 ** 20, ...settings });
}

function toContender(cluster: Cluster, kind: Kind, database: SizedDatabase): Contender {
  if (kind !== "pageless") return database.contender(kind === "uniform" ? "uniform" : "active");
  const contender = database.contender("uniform");
  return {
    ...contender,
    async prepare() {
      await cluster.change("full_page_writes", "off");
      await contender.prepare?.();
    },
    async settle(window) {
      await cluster.change("full_page_writes", null);
      return (await contender.settle?.(window)) ?? window;
    },
  };
}

function readSizes({ isQuick, flags }: Run): number[] {
  const sizes = flags.rows?.split(",").map(Number) ?? (isQuick ? QUICK_SIZES : SIZES);
  if (sizes.every((size) => Number.isInteger(size) && size >= LEAST_ROWS)) return sizes.sort((a, b) => a - b);
  throw new FlagError(`--rows: got '${flags.rows}'; expected numbers from ${LEAST_ROWS} on, separated by commas`);
}

/** The sizes that fit on the disk, the smaller ones first. */
async function keepWhatFits(sizes: number[]): Promise<number[]> {
  const { bavail, bsize } = await statfs(tmpdir());
  let room = bavail * bsize;
  const fitting = sizes.filter((size) => {
    room -= size * DISK_BYTES_A_ROW;
    return room > 0;
  });
  if (fitting.length === 0) throw new Error(`no room in ${tmpdir()}; expected ${DISK_BYTES_A_ROW} bytes a row`);
  return fitting;
}

async function fillAll(
  cluster: Cluster,
  { sizes, batchSize }: { sizes: number[]; batchSize: number },
  tell: Tell,
): Promise<SizedDatabase[]> {
  const databases: SizedDatabase[] = [];
  // With the usual value the fill would write each page in several checkpoints.
  await cluster.change("max_wal_size", "8GB");
  let filled = 0;
  for (const rows of sizes) {
    await cluster.run(`CREATE DATABASE growth_${rows}`);
    const given = { url: cluster.url(`growth_${rows}`), users: Math.floor(rows / FILES_A_USER) };
    const [from, to] = [filled / sumOf(sizes), (filled + rows) / sumOf(sizes)];
    await fillDatabase({
      ...given,
      tell: within((what, share) => tell(`${whole(rows)} rows: ${what}`, share), from, to),
    });
    filled += rows;
    databases.push(openSizedDatabase({ ...given, batchSize, dataDir: cluster.dataDir }));
  }
  await cluster.change("max_wal_size", null);
  await cluster.run("CHECKPOINT");
  return databases;
}

type Cluster = Awaited<ReturnType<typeof openCluster>>;

/** Starts the PostgreSQL of the server with its settings. Some of them can be changed. */
async function openCluster() {
  const dataDir = await makeTemporaryFolder();
  // `readMachine` expects this name.
  const directory = join(dataDir, "postgres");
  const password = randomBytes(24).toString("base64url");
  let cluster = initCluster({ directory, password }).then(() => startCluster({ directory }));
  // Registered before the start is done, so that a run that ends during the start still stops it.
  onEnd(async () => await (await cluster.catch(() => null))?.stop());
  const { port } = await cluster;
  const url = (database: string) => `postgres://${CLUSTER_USER}:${password}@127.0.0.1:${port}/${database}`;
  const run = (statement: string) =>
    withClient(url("postgres"), async (client) => (await client.query<Record<string, string>>(statement)).rows[0]);
  return {
    dataDir,
    url,
    run,
    /** Restarts it on the same port, for settings that need a restart. Open connections break. */
    async restart(settings: Record<string, string>): Promise<void> {
      await (await cluster).stop();
      cluster = startCluster({ directory, port, settings });
      await cluster;
    },
    /** Changes a setting without a restart; null resets it. */
    async change(setting: string, value: string | null): Promise<void> {
      await run(`ALTER SYSTEM ${value === null ? `RESET ${setting}` : `SET ${setting} = '${value}'`}`);
      await run("SELECT pg_reload_conf()");
      await pause(RELOAD_MS);
    },
    readSharedBuffers: async () =>
      (await run("SELECT current_setting('shared_buffers') AS buffers"))?.buffers ?? "unknown",
  };
}
