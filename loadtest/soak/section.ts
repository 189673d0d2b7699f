import { type Judged, judge } from "../harness/aims.ts";
import type { Aim, Findings, Plot, Table } from "../harness/section.ts";
import { medianOf, mergeCounts, sumOf } from "../harness/statistics.ts";
import { latencyLines, toLine, toTable } from "../harness/table.ts";
import { medianOrNull } from "../harness/window.ts";
import type { Aftermath } from "../load/database.ts";
import type { MixedCounts } from "./mixed-clients.ts";
import { HOT_TABLES, type Sample, type TableState } from "./samples.ts";
import { type Slope, slopeOf } from "./slope.ts";

export interface Figures {
  isQuick: boolean;
  minutes: number;
  players: number;
  ratePerSecond: number;
  samples: Sample[];
  counts: MixedCounts;
  settings: string;
  aftermath: Aftermath;
}

/** Readings scatter by megabytes of heartbeats that wait for COMMIT. A slope misses its limit only beyond this scatter. */
const STANDARD_ERRORS = 2;
/** The first share of the run, in which the process still grows to its size under load. */
const SETTLING_SHARE = 0.2;
const KB = 1024;
const MB = KB * KB;

const MEMORIES = [
  { name: "resident", pick: ({ residentBytes }: Sample) => residentBytes },
  { name: "JavaScript's heap", pick: ({ heapBytes }: Sample) => heapBytes },
] as const;
const [RESIDENT, HEAP] = MEMORIES;
type MemoryOf = (typeof MEMORIES)[number];

export function toSection(figures: Figures): Findings {
  const { samples, settings, aftermath, counts } = figures;
  const loads = samples.map(({ load }) => load);
  const coresOf = (owner: string) =>
    medianOf(loads.map(({ each, workPerSecond }) => ((each[owner] ?? Number.NaN) * workPerSecond) / 1e6)).toFixed(2);
  const refused = mergeCounts(loads.map((load) => load.refused));
  return {
    title: "Soak",
    about: toAbout(figures),
    // The few clients of the mixed load count as foreign.
    foreignCores: medianOrNull(loads.map(({ foreignCores }) => foreignCores)),
    tables: [memoryTable(figures), tablesTable(samples), mixedTable(figures)],
    plots: toPlots(samples),
    aims: toAims(figures),
    notes: [
      `${settings}.`,
      `The server took ${coresOf("server")} cores, the steady players ${coresOf("generator")}; the clients of the mixed load count as foreign.`,
      `Afterwards: ${aftermath.deadlocks} deadlocks, ${aftermath.wrongSums} wrong sums, ${aftermath.budgetCutMs} ms cut by the budget.`,
      ...Object.entries(counts.failed).map(([what, count]) => `Failed ${count} times: ${what}`),
      ...Object.entries(refused).map(([code, count]) => `Heartbeats not acked: ${count} × ${code}`),
    ],
  };
}

function toAbout({ minutes, ratePerSecond, players, isQuick }: Figures): string {
  return [
    `${minutes.toFixed(1)} minutes of ${ratePerSecond} heartbeats a second from ${players} steady players, at even intervals, whether acks come or not. Beside them: 12 dashboards, one of which is reopened every 5 s; 10 players a second that connect, send two heartbeats and go, every fifth with a reset between; 20 reads of progress and 2 pages of learners a second over HTTP; a media server that validates, starts, reports and ends 10 streams a second, every tenth time with a wrong key.`,
    `Between windows of ${isQuick ? 5 : 10} s the steady load waits for its last acks. Then the server collects its garbage, and the run reads its memory and PostgreSQL's counters. The slope is of the line by least squares through all samples but the first fifth, with its standard error. A slope misses its limit only if it is above it by more than two standard errors. The share of HOT updates is of all updates since the first sample.`,
  ].join("\n\n");
}

/** The slope in KB a minute. */
function slopeOfMemory({ samples }: Figures, { pick }: MemoryOf): Slope {
  const settled = samples.slice(Math.floor(samples.length * SETTLING_SHARE));
  return slopeOf(settled.map((sample) => [sample.minute, pick(sample) / KB]));
}

function memoryTable(figures: Figures): Table {
  const { samples, ratePerSecond } = figures;
  const toMb = (sample: Sample | undefined, { pick }: MemoryOf) => (sample === undefined ? null : pick(sample) / MB);
  const rows = MEMORIES.map((memory) => ({ ...memory, slope: slopeOfMemory(figures, memory) }));
  return toTable<(typeof rows)[number]>("Memory of the server, garbage collected", rows, [
    ["", ({ name }) => name],
    ["first, MB", (row) => toMb(samples[0], row)],
    ["last, MB", (row) => toMb(samples.at(-1), row)],
    ["slope, KB a minute", ({ slope }) => slope.value],
    ["±", ({ slope }) => slope.standardError],
    ["bytes a heartbeat", ({ slope }) => (slope.value * KB) / (ratePerSecond * 60)],
  ]);
}

function tablesTable(samples: Sample[]): Table {
  const rows = (samples[0]?.tables ?? []).map(({ table }) => {
    const states = statesOf(samples, table);
    return { table, states, first: states[0] as TableState, last: states.at(-1) as TableState };
  });
  return toTable<(typeof rows)[number]>("Tables", rows, [
    ["", ({ table }) => table],
    ["rows", ({ last }) => last.live],
    ["updates", ({ first, last }) => last.updated - first.updated],
    ["HOT, %", ({ states }) => hotPercent(states)],
    ["dead rows, most", ({ states }) => Math.max(...states.map(({ dead }) => dead))],
    ["autovacuums", ({ first, last }) => last.autovacuums - first.autovacuums],
    ["MB, first", ({ first }) => first.tableBytes / MB],
    ["MB, last", ({ last }) => last.tableBytes / MB],
    ["bytes a row", ({ last }) => last.tableBytes / Math.max(1, last.live)],
    ["indexes MB, first", ({ first }) => first.indexBytes / MB],
    ["indexes MB, last", ({ last }) => last.indexBytes / MB],
  ]);
}

function mixedTable({ counts: { done, failed }, minutes }: Figures): Table {
  const failuresOf = (what: string) =>
    sumOf(Object.entries(failed).map(([reason, count]) => (reason.startsWith(`${what}:`) ? count : 0)));
  return toTable("What else went on", Object.entries(done), [
    ["", ([what]) => what],
    ["times", ([, count]) => count],
    ["a second", ([, count]) => count / minutes / 60],
    ["failed", ([what]) => failuresOf(what)],
  ]);
}

function toPlots(samples: Sample[]): Plot[] {
  const plot = (name: string, title: string, label: string, series: Plot["series"]): Plot => {
    return { name, title, x: { label: "minutes" }, y: { label }, series };
  };
  const hotLines = (pick: (state: TableState) => number) =>
    HOT_TABLES.map((name) => {
      const states = statesOf(samples, name);
      return toLine(name, states, (state) => [samples[states.indexOf(state)]?.minute ?? 0, pick(state)]);
    });
  const memoryLines = MEMORIES.map(({ name, pick }) => toLine(name, samples, (one) => [one.minute, pick(one) / MB]));
  const [dead, sizes] = [hotLines((state) => state.dead), hotLines((state) => bytesOf(state) / MB)];
  const [p50, , p99] = latencyLines(samples, ({ minute, load }) => [minute, load.latency]);
  return [
    plot("soak-memory", "Memory of the server, garbage collected", "MB", memoryLines),
    plot("soak-dead-rows", "Dead rows", "dead rows", dead),
    plot("soak-size", "Tables and their indexes", "MB", sizes),
    plot("soak-latency", "Latency of acks", "ms", p50 && p99 ? [p50, p99] : []),
  ];
}

function toAims(figures: Figures): Aim[] {
  const { samples, aftermath, counts, isQuick } = figures;
  const rough = isQuick ? "rough: too short" : "";
  const toSlope = (what: string, memory: MemoryOf, atMost: number, because: string): Judged => {
    const { value, standardError } = slopeOfMemory(figures, memory);
    const beside = `${value.toFixed(0)} ± ${standardError.toFixed(0)} KB a minute ${rough}`;
    const unit = " KB a minute beyond the scatter";
    return { what, atMost, unit, value: value - STANDARD_ERRORS * standardError, beside, because };
  };
  const toGrowth = (what: string, value: number): Judged => ({
    what: `${what}, the last third beside the one before`,
    atMost: 1.1,
    unit: " times",
    value,
    beside: rough,
    because: "Autovacuum does not keep up with the updates, or an old transaction holds it back.",
  });
  const failed = sumOf(Object.values(counts.failed));
  return judge([
    toSlope("heap after garbage collection", HEAP, 100, "The server keeps objects that it no longer needs."),
    toSlope("resident memory", RESIDENT, 500, "Memory outside of the heap is not freed."),
    ...HOT_TABLES.map((table) => ({
      what: `HOT updates of ${table}`,
      atLeast: 95,
      unit: " %",
      value: hotPercent(statesOf(samples, table)),
      because:
        "Pages have no room for another version of a row: an old transaction keeps dead versions, or the fillfactor is too high.",
    })),
    toGrowth(
      "dead rows at their most",
      growthOf(samples, ({ dead }) => dead),
    ),
    toGrowth("tables and indexes", growthOf(samples, bytesOf)),
    {
      what: "right in the end: deadlocks, wrong sums, failures",
      atMost: 0,
      unit: "",
      value: aftermath.deadlocks + aftermath.wrongSums + failed,
      beside: `${aftermath.deadlocks} deadlocks, ${aftermath.wrongSums} wrong sums, ${failed} failed`,
      because: "See the notes of the section.",
    },
  ]);
}

function bytesOf({ tableBytes, indexBytes }: TableState): number {
  return tableBytes + indexBytes;
}

function statesOf(samples: Sample[], name: string): TableState[] {
  return samples.flatMap(({ tables }) => tables.filter(({ table }) => table === name));
}

function hotPercent(states: TableState[]): number {
  const [first, last] = [states[0], states.at(-1)];
  if (first === undefined || last === undefined) return Number.NaN;
  return ((last.hotUpdated - first.hotUpdated) / (last.updated - first.updated)) * 100;
}

/** The ratio of the maximum in the last third to that in the third before, over all hot tables together. */
function growthOf(samples: Sample[], pick: (state: TableState) => number): number {
  const third = Math.floor(samples.length / 3);
  const totalOf = ({ tables }: Sample) => sumOf(tables.filter(({ table }) => HOT_TABLES.includes(table)).map(pick));
  const most = (some: Sample[]) => Math.max(...some.map(totalOf));
  return most(samples.slice(-third)) / most(samples.slice(-2 * third, -third));
}
