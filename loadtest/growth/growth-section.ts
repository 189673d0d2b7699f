import { totalmem } from "node:os";
import type { Plot, Section, Table } from "../harness/section.ts";
import { formatNumber } from "../render/format.ts";
import { type Cost, medianOf, type Scenario, toCost } from "./cost.ts";
import { toAims } from "./growth-aims.ts";
import type { SiteSize } from "./site.ts";
import type { Window } from "./window.ts";

export interface SiteResult {
  rows: number;
  activeUsers: number;
  size: SiteSize;
  /** Whether a plan read a growing table as a whole. */
  isScanned: boolean;
  isExact: boolean;
  windows: Record<Scenario, Window[]>;
}

export interface GrowthResult {
  results: SiteResult[];
  /** Sizes that were asked for; those without a result had no room on the disk. */
  wanted: number[];
  seconds: number;
  rounds: number;
  batchSize: number;
  fillSeconds: number;
  /** As the embedded server has it, and a quarter of the memory. */
  sharedBuffers: string;
  largeBuffers: string;
  freeMemoryMb: number;
}

/** The medians of each scenario, by size. */
export type Costs = Record<Scenario, Cost[]>;

export function toSection(growth: GrowthResult): Section {
  const costsOf = (scenario: Scenario) =>
    growth.results
      .filter(({ windows }) => windows[scenario].length > 0)
      .map(({ rows, windows }) => toCost(rows, windows[scenario]));
  const costs: Costs = {
    active: costsOf("active"),
    uniform: costsOf("uniform"),
    bare: costsOf("bare"),
    buffered: costsOf("buffered"),
  };
  const names = nameScenarios(growth);
  const foreign = growth.results.flatMap(({ windows }) => Object.values(windows).flat()).map((one) => one.foreignCores);
  return {
    command: "growth",
    title: "Growth: the cost of a heartbeat in a large table",
    about: describe(growth),
    takenAt: new Date().toISOString(),
    foreignCores: foreign.some((cores) => cores === null) ? null : medianOf(foreign.map((cores) => cores ?? 0)),
    tables: [
      costTable(names.active, costs.active),
      costTable(names.buffered, costs.buffered),
      costTable(names.uniform, costs.uniform, costs.bare),
      sizeTable(growth),
    ],
    plots: [
      plotCosts({
        name: "growth-cpu",
        title: "CPU of a heartbeat by the size of user_progress",
        unit: "µs of CPU per heartbeat, server and PostgreSQL",
        costs,
        names,
        pick: (cost) => cost.cpuUs,
      }),
      plotCosts({
        name: "growth-log",
        title: "Write-ahead log of a heartbeat by the size of user_progress",
        unit: "KB of log per heartbeat",
        costs,
        names,
        pick: (cost) => cost.walBytes / 1024,
      }),
    ],
    aims: toAims(growth, costs, names),
    notes: notesOf(growth),
  };
}

function nameScenarios({ sharedBuffers, largeBuffers }: GrowthResult): Record<Scenario, string> {
  return {
    active: `1 % of the users active, shared_buffers ${sharedBuffers}`,
    buffered: `1 % of the users active, shared_buffers ${largeBuffers}`,
    uniform: `users drawn from all, shared_buffers ${sharedBuffers}`,
    bare: "users drawn from all, full_page_writes off",
  };
}

function describe({ rounds, seconds, batchSize, sharedBuffers, largeBuffers, fillSeconds }: GrowthResult): string {
  return `One embedded PostgreSQL has a database of each size: users of 20 courses of 20 files with progress in ten files each,
filled by \`INSERT … SELECT\` with the triggers off, the sums of lessons and courses from the same rows, vacuumed and
analysed (${formatNumber(fillSeconds)} s in all). The server's own \`ProgressWriter\` writes batches of ${batchSize} heartbeats of distinct
users one after another, each playing the next 10 s of its file: without sockets and buffer, so that what is left is
what can grow. The sizes take turns; ${rounds} ${rounds === 1 ? "round" : "rounds"} of ${seconds} s after a checkpoint and a warm-up, medians.

- **1 % of the users active**: one user in a hundred, spread over the whole table, each in one file. The warm-up has a
  heartbeat of each of them: at one every 10 s and a checkpoint every 5 minutes, one heartbeat in 30 is the first
  since a checkpoint. With the embedded server's settings (shared_buffers ${sharedBuffers}, for a small machine), and with a
  quarter of this machine's memory (${largeBuffers}), which is PostgreSQL's own advice.
- **users drawn from all**: any user, any of their files, right after a checkpoint: the worst there is for caches and for
  the log. At the largest size once more with \`full_page_writes\` off, which nobody should use: it tells what the whole
  pages in the log cost.

CPU is this process's time within the writer, and all of PostgreSQL's, with the checkpoint that writes out what the window
left in memory. Time is the wait for a batch divided by its heartbeats, one batch at a time: disk and the machine's
other work are in it.`;
}

function costTable(title: string, costs: Cost[], bare: Cost[] = []): Table {
  const [smallest] = costs;
  const labelled = [
    ...costs.map((cost) => ({ label: formatNumber(cost.rows), cost })),
    ...bare.map((cost) => ({ label: `${formatNumber(cost.rows)}, full_page_writes off`, cost })),
  ];
  return {
    title: `Per heartbeat, ${title}`,
    columns: ["rows", "CPU µs", "× smallest", "of it server", "of it PostgreSQL", "time µs", "× smallest"].concat([
      "log KB",
      "whole pages in the log",
      "pages read",
      "HOT updates",
    ]),
    rows: labelled.map(({ label, cost }) => [
      label,
      cost.cpuUs,
      cost.cpuUs / (smallest?.cpuUs ?? Number.NaN),
      cost.serverUs,
      cost.postgresUs,
      cost.wallUs,
      cost.wallUs / (smallest?.wallUs ?? Number.NaN),
      cost.walBytes / 1024,
      cost.fullPages,
      cost.blocksRead,
      `${formatNumber(Math.floor(cost.hotShare * 1000) / 10)} %`,
    ]),
  };
}

function sizeTable({ results, sharedBuffers, largeBuffers }: GrowthResult): Table {
  const homes: [string, number][] = [
    [`shared_buffers of ${sharedBuffers}`, toMb(sharedBuffers)],
    [`shared_buffers of ${largeBuffers}`, toMb(largeBuffers)],
    ["memory", totalmem() / 2 ** 20],
  ];
  return {
    title: "Sizes",
    columns: [
      "rows",
      "table MB",
      "its indexes MB",
      "database MB",
      "active users",
      "all of it fits in",
      "sums are exact",
    ],
    rows: results.map(({ rows, size, activeUsers, isExact }) => [
      rows,
      size.tableMb,
      size.indexMb,
      size.databaseMb,
      activeUsers,
      homes.find(([, mb]) => size.databaseMb < mb)?.[0] ?? "the disk alone",
      isExact ? "yes" : "NO",
    ]),
  };
}

function plotCosts(given: {
  name: string;
  title: string;
  unit: string;
  costs: Costs;
  names: Record<Scenario, string>;
  pick: (cost: Cost) => number;
}): Plot {
  const { name, title, unit, costs, names, pick } = given;
  return {
    name,
    title,
    x: { label: "rows in user_progress", isLog: true },
    y: { label: unit },
    series: (["active", "buffered", "uniform"] as const).map((scenario) => ({
      label: names[scenario],
      points: costs[scenario].map((cost): [number, number] => [cost.rows, pick(cost)]),
    })),
  };
}

function notesOf({ results, wanted, freeMemoryMb }: GrowthResult): string[] {
  const notes = [
    "Whether a table that grows is ever read as a whole is told by `EXPLAIN ANALYZE` of a batch of each kind and size, and by PostgreSQL's counter of sequential scans over all windows, in which the triggers' statements are too.",
    "Sums are exact where the lessons and courses of 2,000 users, half of them active, are what a recount of their files gives.",
    `Pages read are those that were not in shared_buffers; the system's cache has them, unless others took the memory: ${formatNumber(freeMemoryMb / 1024)} GB were free at the end.`,
  ];
  const left = wanted.filter((rows) => !results.some((result) => result.rows === rows));
  for (const rows of left) notes.push(`${formatNumber(rows)} rows were left out: not enough room on the disk.`);
  const wrong = results.filter((result) => !result.isExact);
  for (const { rows } of wrong) notes.push(`WRONG SUMS at ${formatNumber(rows)} rows: they differ from a recount.`);
  return notes;
}

/** `256MB`, as PostgreSQL shows a setting. */
function toMb(setting: string): number {
  const [, number = "0", unit = "MB"] = /^(\d+)(kB|MB|GB)$/.exec(setting) ?? [];
  return Number(number) * ({ kB: 1 / 1024, MB: 1, GB: 1024 }[unit] ?? 1);
}
