import type { Aim, Cell, Plot, Section, Table } from "../harness/section.ts";
import type { Seen } from "./contenders.ts";

export interface Figures {
  isQuick: boolean;
  isPartial: boolean;
  live: number;
  underWay: number;
  plan: { rounds: number; seconds: number; coldStreams: number; offeredSeconds: number; floodSeconds: number };
  /** At saturation, a round each. */
  cold: Seen[];
  claimed: Seen[];
  warm: Seen[];
  second: Seen[];
  echo: Seen[];
  hook: Seen[];
  select: Seen[];
  /** Open loop. */
  coldOpen: Seen | null;
  offered: { perSecond: number; seen: Seen }[];
  alone: Seen | null;
  flood: Seen | null;
  wrongs: number;
  deadlocks: number;
}

const AIM_PER_SECOND = 20_000;
const AIM_P99_MS = 5;
/** Of what is offered, what has to be answered in time for it to count as kept up with. */
const KEPT_UP = 0.99;

export function toSection(figures: Figures): Section {
  const rounds = [
    figures.cold,
    figures.claimed,
    figures.warm,
    figures.second,
    figures.echo,
    figures.hook,
    figures.select,
  ];
  const foreign = rounds.flat().map(({ foreignCores }) => foreignCores);
  return {
    command: "validate",
    title: "Stream keys: checks a second, and latency",
    about: toAbout(figures),
    takenAt: new Date().toISOString(),
    foreignCores: foreign.some((cores) => cores === null) ? null : median(foreign as number[]),
    isPartial: figures.isPartial,
    tables: [toSaturation(figures), ...(figures.isPartial ? [] : [toOpenLoop(figures)])],
    plots: figures.isPartial ? [] : [toPlot(figures)],
    aims: figures.isPartial ? [] : toAims(figures),
    notes: toNotes(figures),
  };
}

function toAbout({ plan, live, underWay, isQuick }: Figures): string {
  return [
    `Media servers on 16 connections of \`/rtmp\`, all from one process, ask one Playhead process whether keys may publish. **Cold**: ${plan.coldStreams} keys a round that were never asked for, each a claim that is committed before its answer. **Encoder comes back**: the same keys once their encoders were on air and left, over another connection; a claim that is committed, too. **Warm**: the encoders of ${live} live streams are asked about again, over the connections that hold them, as media servers do at a reconnect or a segment; the database is read for every answer, and nothing needs to be written. **Second encoder**: a live key that somebody else comes with, refused as \`already_live\`.`,
    `At saturation ${underWay} calls are under way; in the open loop calls are due at even intervals whatever the answers do, and latency counts from when one was due. Contenders are measured in turn, ${plan.rounds} round${plan.rounds === 1 ? "" : "s"} of ${plan.seconds} s; figures are medians of the rounds. The echo answers the same frames with a bare uWebSockets.js and a parse of their JSON. The hook is the usual design: a POST with keep-alive, a \`SELECT\` by the key's hash and an \`UPDATE\`, both prepared. The last is what PostgreSQL gives 8 bare clients with one \`SELECT\` by primary key each.${isQuick ? " A quick run: rough figures." : ""}`,
  ].join("\n\n");
}

function toSaturation({ cold, claimed, warm, second, echo, hook, select }: Figures): Table {
  const rate = (seen: Seen[]) => median(seen.map(({ perSecond }) => perSecond));
  const row = (name: string, seen: Seen[]): Cell[] => {
    const of = (pick: (one: Seen) => number | null) => {
      const values = seen.map(pick);
      return values.length === 0 || values.includes(null) ? null : median(values as number[]);
    };
    const to = (other: Seen[]) => (other.length === 0 || seen === other ? null : rate(seen) / rate(other));
    return [
      name,
      of(({ perSecond }) => perSecond),
      of(({ latency }) => latency.p50Ms),
      of(({ latency }) => latency.p99Ms),
      of(({ serverMicros }) => serverMicros),
      of(({ postgresMicros }) => postgresMicros),
      of(({ generatorMicros }) => generatorMicros),
      to(echo),
      to(hook),
      to(select),
    ];
  };
  const rows: [string, Seen[]][] = [
    ["Playhead, warm", warm],
    ["Playhead, second encoder", second],
    ["Playhead, encoder comes back", claimed],
    ["Playhead, cold", cold],
    ["bare uWebSockets.js echo", echo],
    ["HTTP hook, SELECT and UPDATE", hook],
    ["bare `pg` SELECT", select],
  ];
  return {
    title: "At saturation",
    columns: [
      ...["", "checks/s", "p50 ms", "p99 ms", "server CPU µs", "PostgreSQL CPU µs", "generator CPU µs"],
      ...["× echo", "× hook", "× SELECT"],
    ],
    rows: rows.filter(([, seen]) => seen.length > 0).map(([name, seen]) => row(name, seen)),
  };
}

function toOpenLoop({ coldOpen, offered, alone, flood }: Figures): Table {
  const row = (name: string, seen: Seen | null): Cell[][] =>
    seen === null
      ? []
      : [
          [
            name,
            seen.perSecond,
            seen.latency.p50Ms,
            seen.latency.p90Ms,
            seen.latency.p99Ms,
            seen.latency.p999Ms,
            seen.latency.maxMs,
            seen.serverMicros,
            seen.lateMs,
          ],
        ];
  const wrong = flood?.wrong ?? null;
  return {
    title: "Open loop",
    columns: [
      "",
      "answered/s",
      "p50 ms",
      "p90 ms",
      "p99 ms",
      "p99.9 ms",
      "max ms",
      "server CPU µs",
      "sent late by, ms",
    ],
    rows: [
      ...row("cold", coldOpen),
      ...offered.flatMap(({ perSecond, seen }) => row(`warm, ${perSecond} a second`, seen)),
      ...row("right keys alone", alone),
      ...row("right keys beside the flood", flood),
      ...(flood === null || wrong === null
        ? []
        : row("the flood of wrong keys", { ...flood, ...wrong, serverMicros: null })),
    ],
  };
}

function toPlot({ offered }: Figures): Plot {
  const points = (pick: (seen: Seen) => number) =>
    offered.map(({ perSecond, seen }): [number, number] => [perSecond, pick(seen)]);
  return {
    name: "validate-latency",
    title: "Warm stream keys: latency against offered load",
    x: { label: "offered checks a second" },
    y: { label: "ms", isLog: true },
    series: [
      { label: "p50", points: points(({ latency }) => latency.p50Ms) },
      { label: "p99", points: points(({ latency }) => latency.p99Ms) },
      { label: "p99.9", points: points(({ latency }) => latency.p999Ms) },
    ],
  };
}

function toAims({ warm, echo, offered, flood, alone }: Figures): Aim[] {
  const top = median(warm.map(({ perSecond }) => perSecond));
  const micros = median(warm.map(({ serverMicros }) => serverMicros ?? 0));
  const echoMicros = median(echo.map(({ serverMicros }) => serverMicros ?? 0));
  const cpu = `${micros.toFixed(0)} µs of the server's thread a check (${echoMicros.toFixed(0)} a bare echo)`;
  const at = offered.find(({ perSecond }) => perSecond === AIM_PER_SECOND)?.seen;
  const p99 = at?.latency.p99Ms ?? Number.POSITIVE_INFINITY;
  const answered = at?.perSecond ?? 0;
  const floodP99 = flood?.latency.p99Ms ?? Number.POSITIVE_INFINITY;
  return [
    {
      what: "`stream:validate` of encoders on air (warm), one process",
      aim: "≥ 20,000/s",
      seen: `${Math.round(top).toLocaleString("en-US")}/s`,
      isMet: top >= AIM_PER_SECOND,
      because: `${cpu}; PostgreSQL and the generator share the two cores.`,
    },
    {
      what: "`stream:validate`, warm, at 20,000/s offered",
      aim: "p99 ≤ 5 ms",
      seen: `${p99.toFixed(1)} ms, ${Math.round(answered).toLocaleString("en-US")}/s answered`,
      isMet: p99 <= AIM_P99_MS && answered >= AIM_PER_SECOND * KEPT_UP,
      because: `${cpu}; what it waits for is its turn on the two cores.`,
    },
    {
      what: "right keys beside 20,000 wrong ones a second",
      aim: "p99 ≤ 5 ms",
      seen: `${floodP99.toFixed(1)} ms (${alone?.latency.p99Ms.toFixed(1)} ms alone)`,
      isMet: floodP99 <= AIM_P99_MS,
      because: "right and wrong keys take turns on the server's one thread.",
    },
  ].map(({ because, ...aim }) => (aim.isMet ? aim : { ...aim, because }));
}

function toNotes({
  cold,
  claimed,
  warm,
  second,
  offered,
  flood,
  coldOpen,
  wrongs,
  deadlocks,
  isPartial,
}: Figures): string[] {
  const ours = [...cold, ...claimed, ...warm, ...offered.map(({ seen }) => seen), ...(coldOpen ? [coldOpen] : [])];
  const told = (counts: Record<string, number>) =>
    Object.entries(counts)
      .map(([outcome, count]) => `${count.toLocaleString("en-US")} ${outcome}`)
      .join(", ");
  return [
    `Answers of right keys: ${told(merge(ours.map(({ outcomes }) => outcomes)))}.`,
    ...(second.length > 0 ? [`Second encoders: ${told(merge(second.map(({ outcomes }) => outcomes)))}.`] : []),
    ...(flood === null
      ? []
      : [
          `Beside the flood, right keys: ${told(flood.outcomes)}; wrong keys: ${told(flood.wrong?.outcomes ?? {})}. A wrong key is looked up before it counts against its limit: past that it is told \`rate_limited\` instead of \`unknown\`.`,
        ]),
    ...(isPartial ? [] : [`Streams with two sessions afterwards: ${wrongs}; deadlocks: ${deadlocks}.`]),
  ];
}

function merge(counts: Record<string, number>[]): Record<string, number> {
  const merged: Record<string, number> = {};
  for (const count of counts) {
    for (const [name, value] of Object.entries(count)) merged[name] = (merged[name] ?? 0) + value;
  }
  return merged;
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(middle)] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}
