import type { Aim, Plot, Section, Table } from "../harness/section.ts";
import type { After } from "../ingest/database.ts";
import type { MixedCounts } from "./mixed-clients.ts";
import { type Slope, slopeOf } from "./slope.ts";
import type { Sample } from "./soak.ts";
import { HOT_TABLES, type TableState } from "./tables.ts";

export interface SoakFigures {
  isQuick: boolean;
  minutes: number;
  players: number;
  ratePerSecond: number;
  samples: Sample[];
  counts: MixedCounts;
  /** PostgreSQL's settings of autovacuum. */
  settings: string;
  after: After;
  serverCores: number;
  generatorCores: number;
  foreignCores: number | null;
}

/** A minute has so many heartbeats that a byte kept of each would be over both. */
const MAX_HEAP_SLOPE_KB = 100;
const MAX_RESIDENT_SLOPE_KB = 500;
/** What waits for COMMIT when a reading is taken comes and goes by megabytes: past the limit is what is so beyond that scatter. */
const STANDARD_ERRORS = 2;
/** Of the run: until then the process still becomes what it is under load. */
const SETTLING_SHARE = 0.2;
const MIN_HOT_SHARE = 0.95;
/** Of the last third to the one before it. */
const MAX_GROWTH = 1.1;
const KB = 1024;
const MB = KB * KB;

export function toSection(figures: SoakFigures): Section {
  const { samples, minutes, players, ratePerSecond, isQuick, foreignCores, counts } = figures;
  const settled = samples.slice(Math.floor(samples.length * SETTLING_SHARE));
  const slopes = {
    resident: slopeOf(settled.map(({ minute, residentBytes }) => [minute, residentBytes / KB])),
    heap: slopeOf(settled.map(({ minute, heapBytes }) => [minute, heapBytes / KB])),
  };
  return {
    command: "soak",
    title: "Soak",
    about: [
      `${minutes.toFixed(1)} minutes of ${ratePerSecond} heartbeats a second from ${players} steady players, at even times whatever the acks do. Beside them 12 dashboards, one of them opened again every 5 s; 10 players a second that come, send two heartbeats and go, every fifth with a reset between; 20 reads of progress and 2 pages of learners a second over HTTP; a media server that validates, starts, reports and ends 10 streams a second, every tenth time with a wrong key.`,
      `Between slices of ${isQuick ? 5 : 10} s the steady load waits for its last acks; the server's garbage is collected, its memory read, and PostgreSQL's counters. The slope is that of a line by least squares through all but the first fifth, with its standard error: a limit is passed where the slope is above it by more than two of these. A share of HOT updates is that of all updates since the samples began.`,
    ].join("\n\n"),
    takenAt: new Date().toISOString(),
    foreignCores,
    tables: [toMemoryTable(figures, slopes), toTablesTable(samples), toMixedTable(figures)],
    plots: [toMemoryPlot(samples), toDeadPlot(samples), toSizePlot(samples), toLatencyPlot(samples)],
    aims: toAims(figures, slopes),
    notes: [
      `${figures.settings}.`,
      `The server took ${figures.serverCores.toFixed(2)} cores, the steady players ${figures.generatorCores.toFixed(2)}; the clients of the mixed load count as foreign.`,
      `Afterwards: ${figures.after.deadlocks} deadlocks, ${figures.after.wrongAggregates} wrong sums, ${figures.after.budgetCutMs} ms cut by the budget.`,
      ...Object.entries(counts.failed).map(([what, count]) => `Failed ${count} times: ${what}`),
      ...toRefusals(samples),
    ],
  };
}

interface Slopes {
  resident: Slope;
  heap: Slope;
}

function toText({ value, standardError }: Slope): string {
  return `${value.toFixed(0)} ± ${standardError.toFixed(0)}`;
}

function isWithin({ value, standardError }: Slope, limit: number): boolean {
  return value - STANDARD_ERRORS * standardError <= limit;
}

function toMemoryTable({ samples, ratePerSecond }: SoakFigures, slopes: Slopes): Table {
  const [first, last] = [samples[0], samples.at(-1)];
  const row = (name: string, pick: (sample: Sample) => number, { value, standardError }: Slope) => [
    name,
    first === undefined ? null : pick(first) / MB,
    last === undefined ? null : pick(last) / MB,
    value,
    standardError,
    (value * KB) / (ratePerSecond * 60),
  ];
  return {
    title: "Memory of the server, garbage collected",
    columns: ["", "first, MB", "last, MB", "slope, KB a minute", "±", "bytes a heartbeat"],
    rows: [
      row("resident", ({ residentBytes }) => residentBytes, slopes.resident),
      row("JavaScript's heap", ({ heapBytes }) => heapBytes, slopes.heap),
    ],
  };
}

function toTablesTable(samples: Sample[]): Table {
  return {
    title: "Tables",
    columns: [
      "",
      "rows",
      "updates",
      "HOT, %",
      "dead rows, most",
      "autovacuums",
      "MB, first",
      "MB, last",
      "bytes a row",
      "indexes MB, first",
      "indexes MB, last",
    ],
    rows: namesOf(samples).map((name) => {
      const states = statesOf(samples, name);
      const [first, last] = [states[0] as TableState, states.at(-1) as TableState];
      return [
        name,
        last.live,
        last.updated - first.updated,
        shareOfHot(states) * 100,
        Math.max(...states.map(({ dead }) => dead)),
        last.autovacuums - first.autovacuums,
        first.tableBytes / MB,
        last.tableBytes / MB,
        last.live === 0 ? null : last.tableBytes / last.live,
        first.indexBytes / MB,
        last.indexBytes / MB,
      ];
    }),
  };
}

function toMixedTable({ counts, minutes }: SoakFigures): Table {
  const failed = (what: string) =>
    Object.entries(counts.failed).reduce(
      (sum, [reason, count]) => sum + (reason.startsWith(`${what}:`) ? count : 0),
      0,
    );
  return {
    title: "What else went on",
    columns: ["", "times", "a second", "failed"],
    rows: Object.entries(counts.done).map(([what, count]) => [what, count, count / minutes / 60, failed(what)]),
  };
}

function toMemoryPlot(samples: Sample[]): Plot {
  return {
    name: "soak-memory",
    title: "Memory of the server, garbage collected",
    x: { label: "minutes" },
    y: { label: "MB" },
    series: [
      { label: "resident", points: samples.map(({ minute, residentBytes }) => [minute, residentBytes / MB]) },
      { label: "JavaScript's heap", points: samples.map(({ minute, heapBytes }) => [minute, heapBytes / MB]) },
    ],
  };
}

function toDeadPlot(samples: Sample[]): Plot {
  return {
    name: "soak-dead-rows",
    title: "Dead rows",
    x: { label: "minutes" },
    y: { label: "dead rows" },
    series: HOT_TABLES.map((name) => ({ label: name, points: toPoints(samples, name, ({ dead }) => dead) })),
  };
}

function toSizePlot(samples: Sample[]): Plot {
  return {
    name: "soak-size",
    title: "Tables and their indexes",
    x: { label: "minutes" },
    y: { label: "MB" },
    series: HOT_TABLES.map((name) => ({
      label: name,
      points: toPoints(samples, name, ({ tableBytes, indexBytes }) => (tableBytes + indexBytes) / MB),
    })),
  };
}

function toLatencyPlot(samples: Sample[]): Plot {
  return {
    name: "soak-latency",
    title: "Latency of acks",
    x: { label: "minutes" },
    y: { label: "ms" },
    series: [
      { label: "p50", points: samples.map(({ minute, load }) => [minute, load.latency.p50Ms]) },
      { label: "p99", points: samples.map(({ minute, load }) => [minute, load.latency.p99Ms]) },
    ],
  };
}

function toAims({ samples, after, counts, isQuick }: SoakFigures, slopes: Slopes): Aim[] {
  const rough = isQuick ? " (rough: too short)" : "";
  const failures = Object.values(counts.failed).reduce((sum, count) => sum + count, 0);
  const dead = growthOf(samples, ({ dead }) => dead);
  const size = growthOf(samples, ({ tableBytes, indexBytes }) => tableBytes + indexBytes);
  return [
    {
      what: "heap after garbage collection",
      aim: `≤ ${MAX_HEAP_SLOPE_KB} KB a minute`,
      seen: `${toText(slopes.heap)} KB a minute${rough}`,
      isMet: isWithin(slopes.heap, MAX_HEAP_SLOPE_KB),
    },
    {
      what: "resident memory",
      aim: `≤ ${MAX_RESIDENT_SLOPE_KB} KB a minute`,
      seen: `${toText(slopes.resident)} KB a minute${rough}`,
      isMet: isWithin(slopes.resident, MAX_RESIDENT_SLOPE_KB),
    },
    ...HOT_TABLES.map((name) => {
      const share = shareOfHot(statesOf(samples, name));
      return {
        what: `HOT updates of ${name}`,
        aim: `≥ ${MIN_HOT_SHARE * 100} %`,
        seen: `${(share * 100).toFixed(2)} %`,
        isMet: share >= MIN_HOT_SHARE,
      };
    }),
    {
      what: "dead rows, the last third beside the one before",
      aim: `≤ ${MAX_GROWTH} times, at their most`,
      seen: `${dead.toFixed(2)} times${rough}`,
      isMet: dead <= MAX_GROWTH,
    },
    {
      what: "tables and indexes, the last third beside the one before",
      aim: `≤ ${MAX_GROWTH} times`,
      seen: `${size.toFixed(2)} times${rough}`,
      isMet: size <= MAX_GROWTH,
    },
    {
      what: "right in the end",
      aim: "no deadlock, no wrong sum, nothing failed",
      seen: `${after.deadlocks} deadlocks, ${after.wrongAggregates} wrong sums, ${failures} failed`,
      isMet: after.deadlocks === 0 && after.wrongAggregates === 0 && failures === 0,
    },
  ];
}

function toRefusals(samples: Sample[]): string[] {
  const refused: Record<string, number> = {};
  for (const { load } of samples) {
    for (const [code, count] of Object.entries(load.refused)) refused[code] = (refused[code] ?? 0) + count;
  }
  return Object.entries(refused).map(([code, count]) => `Heartbeats not acked: ${count} × ${code}`);
}

function namesOf(samples: Sample[]): string[] {
  return samples[0]?.tables.map(({ table }) => table) ?? [];
}

function statesOf(samples: Sample[], name: string): TableState[] {
  return samples.flatMap(({ tables }) => tables.filter(({ table }) => table === name));
}

function toPoints(samples: Sample[], name: string, pick: (state: TableState) => number): [number, number][] {
  return samples.flatMap(({ minute, tables }) =>
    tables.filter(({ table }) => table === name).map((state): [number, number] => [minute, pick(state)]),
  );
}

function shareOfHot(states: TableState[]): number {
  const [first, last] = [states[0], states.at(-1)];
  if (first === undefined || last === undefined) return Number.NaN;
  return (last.hotUpdated - first.hotUpdated) / (last.updated - first.updated);
}

/** By how much the most of the last third is over the most of the third before, of all hot tables together. */
function growthOf(samples: Sample[], pick: (state: TableState) => number): number {
  const third = Math.floor(samples.length / 3);
  const most = (some: Sample[]) =>
    Math.max(
      ...some.map(({ tables }) =>
        tables.filter(({ table }) => HOT_TABLES.includes(table)).reduce((sum, state) => sum + pick(state), 0),
      ),
    );
  return most(samples.slice(-third)) / most(samples.slice(-2 * third, -third));
}
