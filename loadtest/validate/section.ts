import { judge } from "../harness/aims.ts";
import type { Aim, Findings, Plot, Table } from "../harness/section.ts";
import { listCounts, mergeCounts } from "../harness/statistics.ts";
import { type Column, eachColumns, latencyColumns, latencyLines, ratioOf, toTable, whole } from "../harness/table.ts";
import { medianOrNull, type Step, type Summary } from "../harness/window.ts";
import { UNDER_WAY } from "./stream-tables.ts";

export const NAMES = {
  warm: "Playhead, warm",
  second: "Playhead, second encoder",
  claimed: "Playhead, encoder comes back",
  cold: "Playhead, cold",
  echo: "bare uWebSockets.js echo",
  hook: "HTTP hook, SELECT and UPDATE",
  select: "bare `pg` SELECT",
} as const;

export interface Figures {
  options: { rounds: number; coldStreams: number; seconds: number };
  liveStreams: number;
  /** All contenders at saturation. */
  standings: Summary[];
  /** One window each. The last two are the right keys and the wrong keys of the flood. */
  openLoop: Summary[];
  /** The ladder with warm keys. */
  ladder: Step[];
  /** Errors after the load: streams with two sessions, and deadlocks. Null in a run for a profile. */
  wrongs: { sessions: number; deadlocks: number } | null;
}

export function toSection(figures: Figures): Findings {
  const { standings, wrongs } = figures;
  return {
    title: "Stream keys: checks a second, and latency",
    about: toAbout(figures),
    foreignCores: medianOrNull(standings.map(({ foreignCores }) => foreignCores)),
    isPartial: wrongs === null,
    tables: [saturationTable(figures), openLoopTable(figures)],
    plots: [toPlot(figures)],
    aims: toAims(figures),
    notes: toNotes(figures),
  };
}

function toAbout({ options, liveStreams }: Figures): string {
  const { coldStreams, rounds, seconds } = options;
  return [
    `One process of media servers with 16 connections to \`/rtmp\` asks one Playhead process whether keys may publish. **Cold**: ${coldStreams} keys in each round that were never checked; the server commits a claim before each answer. **Encoder comes back**: the same keys after their encoders were live and left, on another connection; again with a claim. **Warm**: the encoders of ${liveStreams} live streams, on the connections that hold them, as media servers ask at a reconnect or a segment; the server reads the database for each answer, and writes nothing. **Second encoder**: another encoder with a live key, which the server refuses as \`already_live\`.`,
    `At saturation ${UNDER_WAY} calls wait for answers at any time. In the open loop calls are due at even intervals, whether answers come or not, and latency counts from the time when a call was due. Contenders run in turn, ${rounds} round${rounds === 1 ? "" : "s"} of ${seconds} s; figures are medians of the rounds, latencies are of all rounds together. The echo is a bare uWebSockets.js that parses the same frames and answers at once, with Playhead's own answer. The hook is the usual design: a POST with keep-alive, a \`SELECT\` by the key's hash and an \`UPDATE\`, both prepared. The last contender is 8 bare clients of PostgreSQL, each with one \`SELECT\` by primary key at a time.`,
  ].join("\n\n");
}

function saturationTable({ standings }: Figures): Table {
  const order = Object.values(NAMES);
  const rows = standings.toSorted((a, b) => order.indexOf(a.name as never) - order.indexOf(b.name as never));
  const ratio = (heading: string, to: string): Column<Summary> => [
    heading,
    ({ name, perSecond }) =>
      name === to ? null : ratioOf(perSecond, standings.find((other) => other.name === to)?.perSecond),
  ];
  return toTable<Summary>("At saturation", rows, [
    ["", ({ name }) => name],
    ["checks/s", ({ perSecond }) => perSecond],
    ["p50 ms", ({ latency }) => latency?.p50 ?? null],
    ["p99 ms", ({ latency }) => latency?.p99 ?? null],
    ...eachColumns("server CPU µs", "PostgreSQL CPU µs", "generator CPU µs"),
    ratio("× echo", NAMES.echo),
    ratio("× hook", NAMES.hook),
    ratio("× SELECT", NAMES.select),
  ]);
}

function openLoopTable({ openLoop, ladder }: Figures): Table {
  const [cold, ...flood] = openLoop;
  const steps = ladder.map((step) => ({ ...step, name: `warm, ${step.ratePerSecond} a second` }));
  return toTable<Summary>(
    "Open loop",
    [...(cold === undefined ? [] : [cold]), ...steps, ...flood],
    [
      ["", ({ name }) => name],
      ["answered/s", ({ perSecond }) => perSecond],
      ...latencyColumns<Summary>(({ latency }) => latency),
      ["server CPU µs", ({ each }) => each.server ?? null],
      ["sent late by, ms", ({ lateMs }) => lateMs],
    ],
  );
}

function toPlot({ ladder }: Figures): Plot {
  return {
    name: "validate-latency",
    title: "Warm stream keys: latency against offered load",
    x: { label: "offered checks a second" },
    y: { label: "ms", isLog: true },
    series: latencyLines(ladder, ({ ratePerSecond, latency }) => [ratePerSecond, latency]),
  };
}

const AIM_RATE = 10_000;
const PAUSES =
  "Scavenges pause the server's one thread for 6 to 9 ms, mark-compacts for longer, and it shares two cores with PostgreSQL and the media servers.";

function toAims({ standings, ladder, openLoop, wrongs }: Figures): Aim[] {
  // A ladder that ends before this rate ends with a failure.
  const step = ladder.find(({ ratePerSecond }) => ratePerSecond === AIM_RATE) ?? ladder.at(-1);
  const [alone, flood] = openLoop.slice(-3);
  return judge([
    {
      what: "`stream:validate` of live encoders (warm), one process",
      atLeast: 20_000,
      unit: "/s",
      value: wrongs === null ? null : standings.find(({ name }) => name === NAMES.warm)?.perSecond,
      because: "PostgreSQL and the media servers share the two cores with the server's thread.",
    },
    {
      what: `\`stream:validate\`, warm, at ${whole(AIM_RATE)}/s offered`,
      atMost: 5,
      unit: " ms p99",
      value: step?.latency?.p99,
      beside: `${whole(step?.perSecond ?? 0)}/s answered`,
      failure: step?.failure ?? "",
      because: PAUSES,
    },
    {
      what: "right keys beside 20,000 wrong ones a second",
      atMost: 5,
      unit: " ms p99",
      value: flood?.latency?.p99,
      beside: `${alone?.latency?.p99.toFixed(1)} ms alone`,
      because: `Right and wrong keys take turns on one thread. ${PAUSES}`,
    },
  ]);
}

function toNotes({ standings, openLoop, ladder, wrongs }: Figures): string[] {
  const answersOf = (summaries: readonly (Summary | undefined)[]) =>
    listCounts(mergeCounts(summaries.map((summary) => summary?.outcomes ?? {})));
  const playhead = standings.filter(({ name }) => name.startsWith("Playhead"));
  const second = playhead.filter(({ name }) => name === NAMES.second);
  const right = [...playhead.filter((one) => !second.includes(one)), openLoop[0], ...ladder];
  const notes = [`Answers of right keys: ${answersOf(right)}.`];
  if (wrongs === null) return notes;
  return [
    ...notes,
    `Second encoders: ${answersOf(second)}.`,
    `Beside the flood, right keys: ${answersOf([openLoop.at(-2)])}; wrong keys: ${answersOf([openLoop.at(-1)])}. Past the limit of wrong keys the answer is \`rate_limited\` instead of \`unknown\`; the server looks the key up first.`,
    `Streams with two sessions afterwards: ${wrongs.sessions}; deadlocks: ${wrongs.deadlocks}.`,
  ];
}
