import { totalmem } from "node:os";
import type { Aim, Section, Table } from "../harness/section.ts";
import { formatNumber } from "../render/format.ts";
import type { SiteSize } from "./site.ts";
import type { Window } from "./window.ts";
import type { WorkloadName } from "./workload.ts";

export interface SiteResult {
  rows: number;
  activeUsers: number;
  size: SiteSize;
  /** Whether a plan read a growing table as a whole. */
  isScanned: boolean;
  isExact: boolean;
  windows: Record<WorkloadName, Window[]>;
}

export interface GrowthResult {
  results: SiteResult[];
  /** Sizes that were asked for; those without a result had no room on the disk. */
  wanted: number[];
  seconds: number;
  rounds: number;
  batchSize: number;
  fillSeconds: number;
  sharedBuffers: string;
  freeMemoryMb: number;
}

const MOST_TIMES = 1.5;
const NAMES: Record<WorkloadName, string> = { active: "1 % of the users active", uniform: "users drawn from all" };

/** The medians of a size and a workload. */
interface Cost {
  rows: number;
  cpuUs: number;
  serverUs: number;
  postgresUs: number | null;
  wallUs: number;
  walBytes: number;
  fullPages: number;
  blocksRead: number;
  hotShare: number;
}

export function toSection(growth: GrowthResult): Section {
  const costs = {
    active: growth.results.map((result) => toCost(result, "active")),
    uniform: growth.results.map((result) => toCost(result, "uniform")),
  };
  const windows = growth.results.flatMap((result) => [...result.windows.active, ...result.windows.uniform]);
  const foreign = windows.map((window) => window.foreignCores);
  return {
    command: "growth",
    title: "Growth: the cost of a heartbeat in a large table",
    about: describe(growth),
    takenAt: new Date().toISOString(),
    foreignCores: foreign.some((cores) => cores === null) ? null : medianOf(foreign.map((cores) => cores ?? 0)),
    tables: [costTable("active", costs.active), costTable("uniform", costs.uniform), sizeTable(growth)],
    plots: [
      {
        name: "growth-cost",
        title: "Cost of a heartbeat by the size of user_progress",
        x: { label: "rows in user_progress", isLog: true },
        y: { label: "µs per heartbeat" },
        series: (["active", "uniform"] as const).flatMap((name) => [
          {
            label: `CPU, ${NAMES[name]}`,
            points: costs[name].map((cost): [number, number] => [cost.rows, cost.cpuUs]),
          },
          {
            label: `time, ${NAMES[name]}`,
            points: costs[name].map((cost): [number, number] => [cost.rows, cost.wallUs]),
          },
        ]),
      },
      {
        name: "growth-log",
        title: "Write-ahead log of a heartbeat by the size of user_progress",
        x: { label: "rows in user_progress", isLog: true },
        y: { label: "KB of log per heartbeat" },
        series: (["active", "uniform"] as const).map((name) => ({
          label: NAMES[name],
          points: costs[name].map((cost): [number, number] => [cost.rows, cost.walBytes / 1024]),
        })),
      },
    ],
    aims: [toAim("active", costs.active), toAim("uniform", costs.uniform), scanAim(growth.results)],
    notes: notesOf(growth),
  };
}

function describe({ rounds, seconds, batchSize, sharedBuffers, fillSeconds }: GrowthResult): string {
  return `One embedded PostgreSQL with its usual settings (shared_buffers ${sharedBuffers}) has a database of each size: users of 20 courses
of 20 files with progress in ten files each, filled by \`INSERT … SELECT\` with the triggers off, the sums of lessons and
courses from the same rows, vacuumed and analysed (${formatNumber(fillSeconds)} s in all). The server's own \`ProgressWriter\`
writes batches of ${batchSize} heartbeats of distinct users one after another, each playing the next 10 s of its file: without
sockets and buffer, so that what is left is what can grow. *${NAMES.active}*: one user in a hundred, spread over the whole
table, each in one file, as a platform of that size has them. *${NAMES.uniform}*: any user, any of their files; the worst
there is for caches. The sizes take turns; ${rounds} rounds of ${seconds} s after a checkpoint and 2 s of warm-up, medians.

CPU is this process's time within the writer, and all of PostgreSQL's, with the checkpoint that writes out what the window
left in memory. Time is the wait for a batch divided by its heartbeats, one batch at a time: disk and the machine's
other work are in it.`;
}

function costTable(name: WorkloadName, costs: Cost[]): Table {
  const [smallest] = costs;
  return {
    title: `Per heartbeat, ${NAMES[name]}`,
    columns: [
      "rows",
      "CPU µs",
      "of it server",
      "of it PostgreSQL",
      "time µs",
      "CPU, times the smallest",
      "time, times the smallest",
      "log KB",
      "whole pages in the log",
      "pages read",
      "HOT updates",
    ],
    rows: costs.map((cost) => [
      cost.rows,
      cost.cpuUs,
      cost.serverUs,
      cost.postgresUs,
      cost.wallUs,
      times(cost.cpuUs, smallest?.cpuUs),
      times(cost.wallUs, smallest?.wallUs),
      cost.walBytes / 1024,
      cost.fullPages,
      cost.blocksRead,
      `${formatNumber(Math.floor(cost.hotShare * 1000) / 10)} %`,
    ]),
  };
}

function sizeTable({ results, sharedBuffers }: GrowthResult): Table {
  const buffersMb = toMb(sharedBuffers);
  const memoryMb = totalmem() / 2 ** 20;
  return {
    title: "Sizes",
    columns: ["rows", "table MB", "indexes MB", "database MB", "active users", "it fits in", "sums are exact"],
    rows: results.map(({ rows, size, activeUsers, isExact }) => [
      rows,
      size.tableMb,
      size.indexMb,
      size.databaseMb,
      activeUsers,
      size.databaseMb < buffersMb ? "shared_buffers" : size.databaseMb < memoryMb ? "memory" : "neither",
      isExact ? "yes" : "NO",
    ]),
  };
}

function toAim(name: WorkloadName, costs: Cost[]): Aim {
  const [smallest, largest] = [costs[0], costs.at(-1)];
  const what = `cost of a heartbeat in ${formatNumber(largest?.rows ?? 0)} rows, ${NAMES[name]}`;
  const aim = `≤ ${MOST_TIMES} × that in ${formatNumber(smallest?.rows ?? 0)}`;
  if (smallest === undefined || largest === undefined || costs.length < 2) {
    return { what, aim, seen: "one size only", isMet: false, because: "nothing to compare with" };
  }
  const cpu = largest.cpuUs / smallest.cpuUs;
  const wall = largest.wallUs / smallest.wallUs;
  const isMet = cpu <= MOST_TIMES && wall <= MOST_TIMES;
  const seen = `${formatNumber(cpu)} × in CPU, ${formatNumber(wall)} × in time`;
  if (isMet) return { what, aim, seen, isMet };
  return {
    what,
    aim,
    seen,
    isMet,
    because:
      `nearly every page that is touched is touched for the first time since the checkpoint, and goes whole into the log: ` +
      `${formatNumber(largest.fullPages)} pages and ${formatNumber(largest.walBytes / 1024)} KB a heartbeat ` +
      `(${formatNumber(smallest.fullPages)} and ${formatNumber(smallest.walBytes / 1024)} KB in the smallest), ` +
      `and ${formatNumber(largest.blocksRead)} pages a heartbeat have to be fetched (${formatNumber(smallest.blocksRead)})`,
  };
}

function scanAim(results: SiteResult[]): Aim {
  const scanned = results.filter((result) => result.isScanned).map(({ rows }) => formatNumber(rows));
  const scans = results
    .flatMap(({ windows }) => [...windows.active, ...windows.uniform])
    .reduce((sum, window) => sum + window.counters.sequentialScans, 0);
  return {
    what: "sequential scans of a table that grows, in plans and in the triggers' statements",
    aim: "none at any size",
    seen: scanned.length > 0 ? `in the plan at ${scanned.join(", ")}` : scans > 0 ? `${scans} scans` : "none",
    isMet: scanned.length === 0 && scans === 0,
  };
}

function notesOf({ results, wanted, freeMemoryMb }: GrowthResult): string[] {
  const notes = [
    "`EXPLAIN ANALYZE` of a batch of each kind and size, and the counter of sequential scans over all windows (which the triggers' statements are in too), say whether a table that grows is ever read as a whole.",
    `Memory neither used nor holding files at the end: ${formatNumber(freeMemoryMb / 1024)} GB. "Fits in memory" means that the pages read came from the system's cache, not from the disk, unless others filled it.`,
  ];
  const left = wanted.filter((rows) => !results.some((result) => result.rows === rows));
  for (const rows of left) notes.push(`${formatNumber(rows)} rows were left out: not enough room on the disk.`);
  const wrong = results.filter((result) => !result.isExact);
  for (const { rows } of wrong) notes.push(`WRONG SUMS at ${formatNumber(rows)} rows: they differ from a recount.`);
  return notes;
}

function toCost({ rows, windows }: SiteResult, name: WorkloadName): Cost {
  const median = (pick: (window: Window) => number) => medianOf(windows[name].map(pick));
  const isKnown = windows[name].every((window) => window.postgresUs !== null);
  return {
    rows,
    cpuUs: median((window) => window.serverUs + (window.postgresUs ?? 0)),
    serverUs: median((window) => window.serverUs),
    postgresUs: isKnown ? median((window) => window.postgresUs ?? 0) : null,
    wallUs: median((window) => window.wallUs),
    walBytes: median((window) => window.counters.walBytes),
    fullPages: median((window) => window.counters.fullPages),
    blocksRead: median((window) => window.counters.blocksRead),
    hotShare: median((window) => window.counters.hotUpdates / Math.max(1e-9, window.counters.updates)),
  };
}

export function medianOf(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function times(value: number, of: number | undefined): number | null {
  return of === undefined || of === 0 ? null : value / of;
}

/** `256MB`, as PostgreSQL shows a setting. */
function toMb(setting: string): number {
  const [, number = "0", unit = "MB"] = /^(\d+)(kB|MB|GB)$/.exec(setting) ?? [];
  return Number(number) * ({ kB: 1 / 1024, MB: 1, GB: 1024 }[unit] ?? 1);
}
