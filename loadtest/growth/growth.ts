import { statfs } from "node:fs/promises";
import { freemem, tmpdir, totalmem } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { FlagError, readWholeNumber } from "../harness/flags.ts";
import type { Run, Section, Subcommand } from "../harness/section.ts";
import { type GrowthCluster, openCluster } from "./cluster.ts";
import type { Scenario } from "./cost.ts";
import { FILES_A_USER, fillDatabase } from "./fill.ts";
import { type SiteResult, toSection } from "./growth-section.ts";
import { hasSequentialScan, Site } from "./site.ts";
import { measureWindow, type Window } from "./window.ts";

/** Of a full run and of a quick one. */
const SIZES = [10_000, 1_000_000, 10_000_000];
const QUICK_SIZES = [10_000, 100_000, 500_000];
const LEAST_ROWS = 10_000;
const MOST_ROWS = 20_000_000;
/** Table, indexes, sums, and the log of the fill. Measured: 0.9 KB without the log. */
const DISK_BYTES_A_ROW = 1500;
/** No more than the users of the smallest size. */
const MOST_BATCH = 1000;
const WARMUP_SECONDS = 2;
/** Whose sums are counted anew at the end: half of them active, half drawn from all. */
const RECOUNTED_USERS = 2000;
/** How far the fill, and then the measuring, takes the progress bar. */
const [FILLED, MEASURED] = [0.45, 0.95];

export const growth: Subcommand = {
  name: "growth",
  summary: "the cost of a heartbeat with 10 thousand, 1 million and 10 million rows of progress",
  flags: {
    "--rows LIST": "rows of user_progress, as 10000,1000000 (default 10000,1000000,10000000)",
    "--seconds N": "length of a measured window (default 5)",
    "--rounds N": "windows of each kind, of which the median counts (default 3)",
    "--batch N": "heartbeats in a batch (default 500)",
  },
  limitSeconds: 720,
  run: measureGrowth,
};

async function measureGrowth(run: Run): Promise<Section> {
  const seconds = readWholeNumber(run.flags, "seconds", { usual: run.isQuick ? 2 : 5, most: 30 });
  const rounds = readWholeNumber(run.flags, "rounds", { usual: run.isQuick ? 1 : 3, most: 9 });
  const batchSize = readWholeNumber(run.flags, "batch", { usual: 500, most: MOST_BATCH });
  const wanted = readSizes(run);
  const sizes = await keepWhatFits(wanted);

  run.progress("starting PostgreSQL", 0);
  const cluster = await openCluster();
  const { sites, fillSeconds } = await fillAll(run, { cluster, sizes, batchSize });
  const sharedBuffers = await readSharedBuffers(cluster);
  const windows = new Map(sites.map((site) => [site, { active: [], uniform: [], bare: [], buffered: [] } as Windows]));
  const largest = sites.at(-1) as Site;
  const total = rounds * (sites.length * 3 + 1);
  let done = 0;
  const measure = async (scenario: Scenario, round: number, some: Site[]) => {
    // Each round begins with another size: what drifts meanwhile falls on all of them.
    for (const site of [...some.slice(round % some.length), ...some.slice(0, round % some.length)]) {
      run.progress(
        `round ${round + 1} of ${rounds}, ${scenario}, ${site.rows.toLocaleString("en-US")} rows`,
        FILLED + (done / total) * (MEASURED - FILLED),
      );
      const workload = scenario === "active" || scenario === "buffered" ? "active" : "uniform";
      const { dataDir } = cluster;
      const window = await measureWindow({ site, workload, dataDir, warmupSeconds: WARMUP_SECONDS, seconds });
      windows.get(site)?.[scenario].push(window);
      done += 1;
    }
  };
  for (let round = 0; round < rounds; round++) {
    await measure("active", round, sites);
    await measure("uniform", round, sites);
    await changeSetting(cluster, "full_page_writes", "off");
    await measure("bare", round, [largest]);
    await changeSetting(cluster, "full_page_writes", null);
  }
  // What PostgreSQL's documentation advises for a machine of its own.
  const quarter = `${Math.floor(totalmem() / 4 / 2 ** 20)}MB`;
  await cluster.restart({ shared_buffers: quarter });
  for (let round = 0; round < rounds; round++) await measure("buffered", round, sites);

  run.progress("plans and sums", MEASURED);
  const results: SiteResult[] = [];
  for (const site of sites) results.push(await inspect(site, windows.get(site) as Windows));
  const largeBuffers = await readSharedBuffers(cluster);
  const freeMemoryMb = freemem() / 2 ** 20;
  const settings = { sharedBuffers, largeBuffers, freeMemoryMb };
  return toSection({ results, wanted, seconds, rounds, batchSize, fillSeconds, ...settings });
}

type Windows = Record<Scenario, Window[]>;

async function inspect(site: Site, windows: Windows): Promise<SiteResult> {
  const active = await site.explain(site.workload.next("active"));
  const uniform = await site.explain(site.workload.next("uniform"));
  return {
    rows: site.rows,
    activeUsers: site.workload.activeUsers(),
    size: await site.readSize(),
    isScanned: hasSequentialScan(active) || hasSequentialScan(uniform),
    isExact: await site.isExact(site.workload.sample(RECOUNTED_USERS)),
    windows,
  };
}

function readSizes({ isQuick, flags }: Run): number[] {
  const given = flags.rows;
  if (given === undefined) return isQuick ? QUICK_SIZES : SIZES;
  const sizes = given.split(",").map(Number);
  const isRight = sizes.every((size) => Number.isInteger(size) && size >= LEAST_ROWS && size <= MOST_ROWS);
  if (!isRight || new Set(sizes).size !== sizes.length) {
    throw new FlagError(
      `--rows: got '${given}'; expected different numbers from ${LEAST_ROWS} to ${MOST_ROWS}, separated by commas`,
    );
  }
  return sizes.sort((a, b) => a - b);
}

/** The sizes for which there is disk, the smaller ones first. */
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
  run: Run,
  { cluster, sizes, batchSize }: { cluster: GrowthCluster; sizes: number[]; batchSize: number },
): Promise<{ sites: Site[]; fillSeconds: number }> {
  const startedAt = performance.now();
  const allRows = sizes.reduce((sum, rows) => sum + rows, 0);
  const sites: Site[] = [];
  // A checkpoint for every gigabyte of log is for steady load; a fill would write each page several times.
  await changeSetting(cluster, "max_wal_size", "8GB");
  let filled = 0;
  for (const rows of sizes) {
    const name = `growth_${rows}`;
    await cluster.run(`CREATE DATABASE ${name}`);
    const url = cluster.url(name);
    const users = Math.floor(rows / FILES_A_USER);
    await fillDatabase({
      url,
      users,
      onShare: (what, share) =>
        run.progress(`${rows.toLocaleString("en-US")} rows: ${what}`, ((filled + rows * share) / allRows) * FILLED),
    });
    filled += rows;
    sites.push(new Site({ url, users, batchSize }));
  }
  await changeSetting(cluster, "max_wal_size", null);
  await cluster.run("CHECKPOINT");
  return { sites, fillSeconds: (performance.now() - startedAt) / 1000 };
}

/** Null gives back what it was. */
async function changeSetting(cluster: GrowthCluster, name: string, value: string | null): Promise<void> {
  await cluster.run(`ALTER SYSTEM ${value === null ? `RESET ${name}` : `SET ${name} = '${value}'`}`);
  await cluster.run("SELECT pg_reload_conf()");
  // The reload is a signal, which every backend sees when it gets to it.
  await pause(500);
}

async function readSharedBuffers(cluster: GrowthCluster): Promise<string> {
  const row = await cluster.run("SELECT current_setting('shared_buffers') AS buffers");
  return row?.buffers ?? "unknown";
}
