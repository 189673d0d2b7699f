import { statfs } from "node:fs/promises";
import { freemem, tmpdir } from "node:os";
import pg from "pg";
import { startEmbeddedPostgres } from "../../src/db/embedded-postgres.ts";
import { createLogger } from "../../src/logger.ts";
import { onEnd } from "../harness/cleanup.ts";
import { FlagError, readWholeNumber } from "../harness/flags.ts";
import type { Run, Section, Subcommand } from "../harness/section.ts";
import { makeTemporaryFolder } from "../harness/temporary-folder.ts";
import { FILES_A_USER, fillDatabase } from "./fill.ts";
import { type SiteResult, toSection } from "./growth-section.ts";
import { hasSequentialScan, Site } from "./site.ts";
import { measureWindow, type Window } from "./window.ts";
import type { WorkloadName } from "./workload.ts";

/** Of a full run and of a quick one. */
const SIZES = [10_000, 1_000_000, 10_000_000];
const QUICK_SIZES = [10_000, 100_000, 500_000];
const LEAST_ROWS = 10_000;
const MOST_ROWS = 20_000_000;
/** Table, indexes, sums, and the log of the fill. Measured: 0.9 KB. */
const DISK_BYTES_A_ROW = 1500;
/** Fewer users than a batch has would not fill one. */
const MOST_BATCH = 1000;
const WARMUP_SECONDS = 2;
const WORKLOADS: WorkloadName[] = ["active", "uniform"];

/** The share of the fill in the time that a run takes, about. */
const FILL_SHARE = 0.6;

export const growth: Subcommand = {
  name: "growth",
  summary: "the cost per heartbeat with 10 thousand, 1 million and 10 million rows of progress",
  flags: {
    "--rows LIST": "rows of user_progress, as 10000,1000000 (default 10000,1000000,10000000)",
    "--seconds N": "length of a measured window (default 6)",
    "--rounds N": "windows of each kind, of which the median counts (default 3)",
    "--batch N": "heartbeats in a batch (default 500)",
  },
  limitSeconds: 900,
  run: measureGrowth,
};

async function measureGrowth(run: Run): Promise<Section> {
  const seconds = readWholeNumber(run.flags, "seconds", { usual: run.isQuick ? 2 : 6, most: 30 });
  const rounds = readWholeNumber(run.flags, "rounds", { usual: run.isQuick ? 1 : 3, most: 9 });
  const batchSize = readWholeNumber(run.flags, "batch", { usual: 500, most: MOST_BATCH });
  const wanted = readSizes(run);
  const sizes = await keepWhatFits(wanted);

  run.progress("starting PostgreSQL", 0);
  const dataDir = await makeTemporaryFolder();
  const postgres = await startEmbeddedPostgres({ dataDir, logger: createLogger({ level: "fatal" }) });
  onEnd(() => postgres.stop());
  const { sites, fillSeconds } = await fillAll(run, { url: postgres.url, sizes, batchSize });

  const windows = new Map<string, Window[]>();
  const total = rounds * sites.length * WORKLOADS.length;
  let done = 0;
  for (let round = 0; round < rounds; round++) {
    for (const workload of WORKLOADS) {
      // Each round begins with another size: what drifts meanwhile falls on all of them.
      for (const site of rotate(sites, round)) {
        run.progress(
          `round ${round + 1} of ${rounds}, ${site.rows.toLocaleString("en-US")} rows, ${workload}`,
          FILL_SHARE + (done / total) * (0.95 - FILL_SHARE),
        );
        const window = await measureWindow({ site, workload, dataDir, warmupSeconds: WARMUP_SECONDS, seconds });
        const key = `${site.rows} ${workload}`;
        windows.set(key, [...(windows.get(key) ?? []), window]);
        done += 1;
      }
    }
  }

  run.progress("plans and sums", 0.95);
  const results: SiteResult[] = [];
  for (const site of sites) {
    const plans = [];
    for (const workload of WORKLOADS) plans.push(await site.explain(site.workload.next(workload)));
    results.push({
      rows: site.rows,
      activeUsers: site.workload.activeUsers(),
      size: await site.readSize(),
      isScanned: plans.some(hasSequentialScan),
      isExact: await site.isExact(0),
      windows: {
        active: windows.get(`${site.rows} active`) ?? [],
        uniform: windows.get(`${site.rows} uniform`) ?? [],
      },
    });
  }
  return toSection({ results, wanted, seconds, rounds, batchSize, fillSeconds, ...(await readSettings(postgres.url)) });
}

function readSizes({ isQuick, flags }: Run): number[] {
  const given = flags.rows;
  if (given === undefined) return isQuick ? QUICK_SIZES : SIZES;
  const sizes = given.split(",").map(Number);
  const isRight = sizes.every((size) => Number.isInteger(size) && size >= LEAST_ROWS && size <= MOST_ROWS);
  if (!isRight || new Set(sizes).size !== sizes.length) {
    throw new FlagError(
      `--rows: got '${given}'; expected different numbers from ${LEAST_ROWS} to ${MOST_ROWS}, with commas`,
    );
  }
  return sizes.sort((a, b) => a - b);
}

/** The sizes for which there is disk, the smaller ones first. */
async function keepWhatFits(sizes: number[]): Promise<number[]> {
  const { bavail, bsize } = await statfs(tmpdir());
  let room = bavail * bsize;
  return sizes.filter((size) => {
    room -= size * DISK_BYTES_A_ROW;
    return room > 0;
  });
}

async function fillAll(
  run: Run,
  { url, sizes, batchSize }: { url: string; sizes: number[]; batchSize: number },
): Promise<{ sites: Site[]; fillSeconds: number }> {
  const startedAt = performance.now();
  const allRows = sizes.reduce((sum, rows) => sum + rows, 0);
  const sites: Site[] = [];
  const admin = new pg.Client({ connectionString: url, application_name: "loadtest" });
  await admin.connect();
  try {
    // A checkpoint for every gigabyte of log is for steady load; a fill would write each page several times.
    await admin.query("ALTER SYSTEM SET max_wal_size = '8GB'");
    await admin.query("SELECT pg_reload_conf()");
    let filled = 0;
    for (const rows of sizes) {
      const name = `growth_${rows}`;
      await admin.query(`CREATE DATABASE ${name}`);
      const siteUrl = new URL(url);
      siteUrl.pathname = `/${name}`;
      const users = Math.floor(rows / FILES_A_USER);
      const before = filled;
      await fillDatabase({
        url: siteUrl.href,
        users,
        onShare: (share) =>
          run.progress(
            share < 0.8 ? `filling ${rows.toLocaleString("en-US")} rows` : "vacuuming them",
            ((before + rows * share) / allRows) * FILL_SHARE,
          ),
      });
      filled += rows;
      sites.push(new Site({ url: siteUrl.href, users, batchSize }));
    }
    await admin.query("ALTER SYSTEM RESET max_wal_size");
    await admin.query("SELECT pg_reload_conf()");
    await admin.query("CHECKPOINT");
  } finally {
    await admin.end();
  }
  return { sites, fillSeconds: (performance.now() - startedAt) / 1000 };
}

async function readSettings(url: string): Promise<{ sharedBuffers: string; freeMemoryMb: number }> {
  const client = new pg.Client({ connectionString: url, application_name: "loadtest" });
  await client.connect();
  try {
    const { rows } = await client.query<{ buffers: string }>("SELECT current_setting('shared_buffers') AS buffers");
    return { sharedBuffers: rows[0]?.buffers ?? "unknown", freeMemoryMb: freemem() / 2 ** 20 };
  } finally {
    await client.end();
  }
}

function rotate<T>(items: T[], by: number): T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}
