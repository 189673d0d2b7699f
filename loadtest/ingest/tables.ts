import type { LatencySummary } from "../harness/latency.ts";
import type { Cell, Table } from "../harness/section.ts";
import { type Standing, totalMicros } from "./contender.ts";
import { NAMES } from "./contenders.ts";
import { type Figures, standingOf } from "./figures.ts";
import { sustained } from "./offered.ts";

const LATENCY_COLUMNS = ["p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"];

/** Ratios to each peer and to the limit, of a rate of Playhead's. */
const RATIO_COLUMNS = ["× (a)", "× (b)", "of bare batch"];

export function toTables(figures: Figures): Table[] {
  return [
    ...closedLoop(figures),
    ...cpu(figures),
    ...workers(figures),
    ...offered(figures),
    ...watched(figures),
    ...sockets(figures),
  ];
}

function closedLoop({ standings }: Figures): Table[] {
  const ours = standings[0];
  if (ours === undefined) return [];
  return [
    {
      title: "Durable heartbeats a second, one process, closed loop",
      columns: ["", "heartbeats/s", "Playhead is", "each round", ...LATENCY_COLUMNS],
      rows: standings.map(({ name, perSecond, perRound, latency }) => [
        name,
        Math.round(perSecond),
        times(ours.perSecond / perSecond),
        perRound.map((rate) => Math.round(rate).toLocaleString("en-US")).join(" / "),
        ...latencyCells(latency),
      ]),
    },
  ];
}

function cpu({ standings }: Figures): Table[] {
  const ours = standings[0];
  if (ours === undefined) return [];
  const own = totalMicros(ours.cpuMicros);
  return [
    {
      title: "CPU of a heartbeat, µs, in the same windows",
      columns: ["", "server", "PostgreSQL", "Redis", "generator", "together", "Playhead takes"],
      rows: standings.map(({ name, cpuMicros }) => {
        const total = totalMicros(cpuMicros);
        const { server = null, PostgreSQL: postgres = null, Redis: redis = null, generator = null } = cpuMicros;
        const ratio = own === null || total === null ? null : times(own / total);
        return [name, server, postgres, redis, generator, total, ratio];
      }),
    },
  ];
}

function workers(figures: Figures): Table[] {
  const { ladders } = figures;
  if (ladders.length === 0) return [];
  return [
    {
      title: "Workers",
      columns: [
        "WORKERS",
        "closed loop/s",
        ...RATIO_COLUMNS,
        "offered and kept up with/s",
        ...RATIO_COLUMNS.map((name) => `${name} `),
      ],
      rows: ladders.map((ladder) => [
        ladder.workers,
        Math.round(ladder.topPerSecond),
        ...ratios(figures, ladder.topPerSecond),
        sustained(ladder),
        ...ratios(figures, sustained(ladder)),
      ]),
    },
  ];
}

function offered(figures: Figures): Table[] {
  return figures.ladders.map(({ workers, steps }) => ({
    title: `Offered load, WORKERS=${workers}`,
    columns: [
      "offered/s",
      "acked/s",
      ...LATENCY_COLUMNS,
      "keeps up",
      "rows a heartbeat",
      "server µs",
      "PostgreSQL µs",
      "generator µs",
      ...RATIO_COLUMNS,
    ],
    rows: steps.map((step) => [
      step.offeredPerSecond,
      Math.round(step.achievedPerSecond),
      ...latencyCells(step.latency),
      step.failure === null ? "yes" : `no: ${step.failure}`,
      step.rowsPerHeartbeat?.toFixed(2) ?? null,
      step.serverMicros,
      step.postgresMicros,
      step.generatorMicros,
      ...ratios(figures, step.achievedPerSecond),
    ]),
  }));
}

function watched(figures: Figures): Table[] {
  const { half, fast } = figures.watched;
  const rows = [half, fast].flatMap((one) => one ?? []);
  if (rows.length === 0) return [];
  const columns = ["heartbeats/s", "frame interval ms", "WORKERS", "from due to", ...LATENCY_COLUMNS];
  return [
    {
      title: "With a dashboard watching one of the courses",
      columns: [...columns, "never shown", ...RATIO_COLUMNS],
      rows: rows.flatMap((one) => {
        const common: Cell[] = [Math.round(one.achievedPerSecond), one.frameIntervalMs, one.workers];
        const all = ratios(figures, one.achievedPerSecond);
        return [
          [...common, "ack", ...latencyCells(one.ack), null, ...all],
          [...common, "dashboard", ...latencyCells(one.dashboard), one.unseen, ...all],
        ];
      }),
    },
  ];
}

function sockets({ sockets: work }: Figures): Table[] {
  if (work === null) return [];
  const limit = work.bare.cpuMicros.server ?? Number.NaN;
  return [
    {
      title: `Socket work: CPU of a heartbeat without a database, at ${work.ratePerSecond.toLocaleString("en-US")} a second`,
      columns: ["", "heartbeats/s", "server µs", "× bare", "generator µs", ...LATENCY_COLUMNS],
      rows: [work.playhead, work.bare].map(({ name, perSecond, cpuMicros, latency }) => [
        name,
        Math.round(perSecond),
        cpuMicros.server ?? null,
        times((cpuMicros.server ?? Number.NaN) / limit),
        cpuMicros.generator ?? null,
        ...latencyCells(latency),
      ]),
    },
  ];
}

function ratios(figures: Figures, perSecond: number): Cell[] {
  const to = (standing: Standing | undefined) =>
    standing === undefined ? null : times(perSecond / standing.perSecond);
  return [NAMES.recount, NAMES.upsert, NAMES.bare].map((name) => to(standingOf(figures, name)));
}

function latencyCells(latency: LatencySummary | null): Cell[] {
  if (latency === null || latency.count === 0) return LATENCY_COLUMNS.map(() => null);
  return [latency.p50Ms, latency.p90Ms, latency.p99Ms, latency.p999Ms, latency.maxMs];
}

/** A ratio, with two digits where it is small. */
export function times(ratio: number): string {
  return Number.isFinite(ratio) ? `${ratio.toFixed(ratio < 10 ? 2 : 1)} ×` : "";
}
