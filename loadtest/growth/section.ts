import { totalmem } from "node:os";
import { type Judged, judge } from "../harness/aims.ts";
import type { Aim, Findings, Table } from "../harness/section.ts";
import { sumOf } from "../harness/statistics.ts";
import { ratioOf, toLine, toTable } from "../harness/table.ts";
import { medianOrNull, type Summary, totalMicros } from "../harness/window.ts";
import { formatNumber } from "../render/format.ts";
import { SCANS, type SizeFigures } from "./sized-database.ts";

/**
 * Kinds of windows. `active` and `uniform`: these workloads, with the settings of the embedded PostgreSQL. `buffered`:
 * `active` with a quarter of the memory as shared_buffers. `pageless`: `uniform` at the largest size, full_page_writes off.
 */
export type Kind = "active" | "buffered" | "uniform" | "pageless";
const PLOTTED: Kind[] = ["active", "buffered", "uniform"];

/** The cost of a heartbeat at one size. */
export interface Cost extends Summary {
  kind: Kind;
  rows: number;
}

interface Figures {
  sizes: SizeFigures[];
  costs: Cost[];
  /** The sizes that the flags ask for. Those without figures did not fit on the disk. */
  wanted: number[];
  seconds: number;
  rounds: number;
  batchSize: number;
  fillSeconds: number;
  /** The usual shared_buffers, and a quarter of the memory. */
  sharedBuffers: string;
  largeBuffers: string;
  freeMemoryMb: number;
}

export function toSection(figures: Figures): Findings {
  const names = nameKinds(figures);
  const costsOf = (kind: Kind) => figures.costs.filter((cost) => cost.kind === kind);
  const plot = (name: string, title: string, unit: string, pick: (cost: Cost) => number | null) => ({
    name,
    title: `${title} of a heartbeat by the size of user_progress`,
    x: { label: "rows in user_progress", isLog: true },
    y: { label: unit },
    series: PLOTTED.map((kind) => toLine(names[kind], costsOf(kind), (cost) => [cost.rows, pick(cost)])),
  });
  return {
    title: "Growth: the cost of a heartbeat in a large table",
    about: toAbout(figures),
    foreignCores: medianOrNull(figures.costs.map(({ foreignCores }) => foreignCores)),
    tables: [
      costTable(names.active, costsOf("active")),
      costTable(names.buffered, costsOf("buffered")),
      costTable(names.uniform, [...costsOf("uniform"), ...costsOf("pageless")]),
      sizeTable(figures),
    ],
    plots: [
      plot("growth-cpu", "CPU", "µs of CPU per heartbeat, server and PostgreSQL", totalMicros),
      plot("growth-log", "Write-ahead log", "KB of log per heartbeat", ({ each }) => (each.walBytes ?? 0) / 1024),
    ],
    aims: toAims(figures),
    notes: toNotes(figures),
  };
}

function nameKinds({ sharedBuffers, largeBuffers }: Figures): Record<Kind, string> {
  return {
    active: `1 % of the users active, shared_buffers ${sharedBuffers}`,
    buffered: `1 % of the users active, shared_buffers ${largeBuffers}`,
    uniform: `users drawn from all, shared_buffers ${sharedBuffers}`,
    pageless: "users drawn from all, full_page_writes off",
  };
}

function toAbout({ rounds, seconds, batchSize, sharedBuffers, largeBuffers, fillSeconds }: Figures): string {
  return `One embedded PostgreSQL has a database of each size: users of 20 courses of 20 files, with progress in ten files each.
\`INSERT … SELECT\` with the triggers off fills the databases in ${formatNumber(fillSeconds)} s, with the sums of lessons and courses from
the same rows; then they are vacuumed and analysed. The server's own \`ProgressWriter\` writes batches of ${batchSize} heartbeats
one after another. Each heartbeat is of another user, and plays the next 10 s of a file. Sockets and buffer take no part,
because their cost does not grow with the table. The sizes take turns; ${rounds} ${rounds === 1 ? "round" : "rounds"} of ${seconds} s after a checkpoint
and a warm-up, medians.

- **1 % of the users active**: one user in a hundred, spread over the whole table, each in one file. The warm-up has a
  heartbeat of each of them. With a heartbeat every 10 s and a checkpoint every 5 minutes, only one in 30 is the first
  after a checkpoint. Measured with the embedded server's settings (shared_buffers ${sharedBuffers}, for a small machine), and
  with a quarter of this machine's memory (${largeBuffers}), as PostgreSQL's documentation advises.
- **users drawn from all**: any user and any of the user's files, right after a checkpoint: the worst case for caches and
  the log. At the largest size also with \`full_page_writes\` off, which nobody should use, to show the cost of whole
  pages in the log.

CPU is the time of this process within the writer, and of all of PostgreSQL, including the checkpoint that writes the
window's pages to the disk. Time is the wait for a batch divided by its heartbeats, one batch at a time. It includes the
disk and other processes.`;
}

const wallMicros = ({ perSecond }: Summary) => 1e6 / perSecond;
const hotPercent = ({ hotUpdates, updates }: Summary["each"]) =>
  Math.floor(((hotUpdates ?? 0) / (updates || 1)) * 1000) / 10;

function costTable(title: string, costs: Cost[]): Table {
  const smallest = costs[0] as Cost;
  const nameOf = ({ rows, kind }: Cost) =>
    `${formatNumber(rows)}${kind === "pageless" ? ", full_page_writes off" : ""}`;
  return toTable<Cost>(`Per heartbeat, ${title}`, costs, [
    ["rows", nameOf],
    ["CPU µs", (cost) => totalMicros(cost)],
    ["× smallest", (cost) => ratioOf(totalMicros(cost), totalMicros(smallest))],
    ["of it server", ({ each }) => each.server ?? null],
    ["of it PostgreSQL", ({ each }) => each.PostgreSQL ?? null],
    ["time µs", wallMicros],
    ["× smallest", (cost) => wallMicros(cost) / wallMicros(smallest)],
    ["log KB", ({ each }) => (each.walBytes ?? 0) / 1024],
    ["whole pages in the log", ({ each }) => each.fullPages ?? null],
    ["pages read", ({ each }) => each.blocksRead ?? null],
    ["HOT updates", ({ each }) => `${formatNumber(hotPercent(each))} %`],
  ]);
}

function sizeTable({ sizes, sharedBuffers, largeBuffers }: Figures): Table {
  const homes: [string, number][] = [
    [`shared_buffers of ${sharedBuffers}`, toMb(sharedBuffers)],
    [`shared_buffers of ${largeBuffers}`, toMb(largeBuffers)],
    ["memory", totalmem() / 2 ** 20],
  ];
  return toTable<SizeFigures>("Sizes", sizes, [
    ["rows", ({ rows }) => rows],
    ["table MB", ({ tableMb }) => tableMb],
    ["its indexes MB", ({ indexMb }) => indexMb],
    ["database MB", ({ databaseMb }) => databaseMb],
    ["active users", ({ activeUsers }) => activeUsers],
    ["all of it fits in", ({ databaseMb }) => homes.find(([, mb]) => databaseMb < mb)?.[0] ?? "the disk alone"],
    ["sums are exact", ({ isExact }) => (isExact ? "yes" : "NO")],
  ]);
}

/** Reads a setting as PostgreSQL shows it: `256MB`. */
function toMb(setting: string): number {
  const [, number = "0", unit = "MB"] = /^(\d+)(kB|MB|GB)$/.exec(setting) ?? [];
  return Number(number) * ({ kB: 1 / 1024, MB: 1, GB: 1024 }[unit] ?? 1);
}

function toAims(figures: Figures): Aim[] {
  const { sizes } = figures;
  const toJudged = (kind: Kind, because: string): Judged => {
    const costs = figures.costs.filter((cost) => cost.kind === kind);
    const [smallest, largest] = [costs[0] as Cost, costs.at(-1) as Cost];
    const cpu = ratioOf(totalMicros(largest), totalMicros(smallest)) ?? Number.NaN;
    const time = wallMicros(largest) / wallMicros(smallest);
    return {
      what: `cost of a heartbeat in ${formatNumber(largest.rows)} rows, ${nameKinds(figures)[kind]}`,
      atMost: 1.5,
      unit: ` × that in ${formatNumber(smallest.rows)}`,
      value: costs.length < 2 ? null : Math.max(cpu, time),
      beside: `${formatNumber(cpu)} × in CPU, ${formatNumber(time)} × in time`,
      because,
    };
  };
  const scanned = sizes.filter(({ isScanned }) => isScanned).map(({ rows }) => formatNumber(rows));
  return judge([
    toJudged(
      "active",
      "The indexes and pages that the active users touch do not fit into shared_buffers: PostgreSQL fetches them from the system's cache.",
    ),
    toJudged("buffered", "Index levels are deeper, and pages are no longer in the processor's caches."),
    {
      what: "sequential scans of a table that grows, in plans and in the triggers' statements",
      atMost: 0,
      unit: "",
      value: sumOf(figures.costs.map(({ outcomes }) => outcomes[SCANS] ?? 0)),
      failure: scanned.length === 0 ? "" : `in the plan at ${scanned.join(", ")}`,
      because: "A plan reads a table that grows as a whole.",
    },
  ]);
}

function toNotes({ sizes, wanted, freeMemoryMb }: Figures): string[] {
  const left = wanted.filter((rows) => !sizes.some((size) => size.rows === rows));
  const wrong = sizes.filter(({ isExact }) => !isExact);
  return [
    "Two checks look for scans of a table that grows: `EXPLAIN ANALYZE` of a batch of each workload and size, and PostgreSQL's counter of sequential scans over all windows. Both include the triggers' statements.",
    "Sums are exact if `playhead_check_course` finds no difference in a course that has users of both workloads.",
    `"Pages read" were not in shared_buffers. They come from the system's cache if there is free memory; ${formatNumber(freeMemoryMb / 1024)} GB were free at the end.`,
    ...left.map((rows) => `${formatNumber(rows)} rows were left out: not enough room on the disk.`),
    ...wrong.map(({ rows }) => `WRONG SUMS at ${formatNumber(rows)} rows: they differ from a recount.`),
  ];
}
