import { type Judged, judge } from "../harness/aims.ts";
import type { Aim, Findings, Plot, Table } from "../harness/section.ts";
import { listCounts } from "../harness/statistics.ts";
import { type Column, latencyColumns, ratioOf, times, toLine, toTable } from "../harness/table.ts";
import { medianOrNull, type Summary } from "../harness/window.ts";
import { FRAME_INTERVAL_MS, NAMES } from "./contenders.ts";

export interface Audience {
  dashboards: number;
  topics: number;
}

/** In this order dashboards join topics and never leave one. */
export const AUDIENCES: readonly Audience[] = [
  { dashboards: 100, topics: 1 },
  { dashboards: 1000, topics: 1 },
  { dashboards: 2000, topics: 1000 },
  { dashboards: 10_000, topics: 1 },
  { dashboards: 10_000, topics: 1000 },
];

/** The numbers of the files whose topics the audience watches. */
export function filesOf({ topics }: Audience): number[] {
  return topics === 1 ? [0] : Array.from({ length: topics }, (_, i) => 1 + i);
}

export function nameOf({ dashboards, topics }: Audience): string {
  const count = dashboards.toLocaleString("en-US");
  return topics === 1 ? `${count} on one topic` : `${count} on ${topics.toLocaleString("en-US")} topics`;
}

/** One audience: all contenders at their ceiling, and at half of it. An operation is a delivery. */
export interface AudienceFigures {
  audience: Audience;
  ceilings: Summary[];
  halves: Summary[];
}

export function toSection(
  figures: AudienceFigures[],
  { skipped, rounds, isPartial }: { skipped: string[]; rounds: number; isPartial: boolean },
): Findings {
  const all = figures.flatMap(({ ceilings, halves }) => [...ceilings, ...halves]);
  return {
    title: "Fan-out to dashboards",
    about: `${ABOUT} Medians of ${rounds} ${rounds === 1 ? "round" : "rounds"}.`,
    foreignCores: medianOrNull(all.map(({ foreignCores }) => foreignCores)),
    isPartial,
    tables: [ceilingTable(figures), costTable(figures), latencyTable(figures)],
    plots: [
      toPlot(figures, "fanout-deliveries", "Deliveries a second", ({ perSecond }) => perSecond),
      toPlot(figures, "fanout-cpu", "Server CPU a delivery, µs", cpuOf),
    ],
    aims: toAims(figures),
    notes: [...skipped, ...toNotes(figures)],
  };
}

const ABOUT =
  `A delivery is one update frame that one dashboard receives. An update changes one learner's row in every topic. At
Playhead it starts with an \`UPDATE\` of these rows and goes the whole way: trigger, NOTIFY, listener, relay, bus, hub,
frame. The frame interval is ${FRAME_INTERVAL_MS} ms, the shortest possible: with the usual 250 ms, conflation would limit the number of
frames. The other contenders get one message for each update (soketi by its HTTP API, all topics in one batch). They
publish the same object that Playhead made, without reading or deciding anything. At the ceiling the next update starts
when the first dashboard has seen the last update and all have seen the one before. At half of the ceiling updates are
due at even intervals, and latency counts from the time when an update was due. Dashboards read only the length of a
frame; one in a hundred, or one for each topic, reads the number of the update. Playhead sends a topic's sums once a
second, often in a frame of their own, which counts too. The dashboards share the cores with the server: if both cores
are busy, or the frame interval is the limit, compare the CPU of a delivery.`.replaceAll("\n", " ");

const cpuOf = ({ each }: Summary) => each.server ?? null;

/** How many updates of every topic started a second. */
export function updatesPerSecond({ each, perSecond }: Summary): number {
  return (each.updates ?? 0) * perSecond;
}

function find({ ceilings }: AudienceFigures, name: string): Summary | undefined {
  return ceilings.find((ceiling) => ceiling.name === name);
}

/** The ratio of Playhead's deliveries a second to those of another contender. */
function timesDeliveries(row: AudienceFigures, name: string): number | null {
  return ratioOf(find(row, NAMES.playhead)?.perSecond, find(row, name)?.perSecond);
}

/** The ratio of another contender's CPU for a delivery to Playhead's. */
function timesCpu(row: AudienceFigures, name: string): number | null {
  return ratioOf(find(row, name)?.each.server, find(row, NAMES.playhead)?.each.server);
}

function namesOf(figures: AudienceFigures[]): string[] {
  return figures[0]?.ceilings.map(({ name }) => name) ?? [];
}

/** One column for each contender but Playhead. Its letter replaces the (x) in the heading. */
function otherColumns<Row>(
  figures: AudienceFigures[],
  heading: string,
  cell: (row: Row, name: string) => number | null,
): Column<Row>[] {
  const others = namesOf(figures).filter((name) => name !== NAMES.playhead);
  return others.map((name) => [heading.replace("(x)", name.slice(0, 3)), (row) => cell(row, name)]);
}

function ceilingTable(figures: AudienceFigures[]): Table {
  return toTable("Deliveries a second at the ceiling", figures, [
    ["", ({ audience }) => nameOf(audience)],
    ...namesOf(figures).map(
      (name): Column<AudienceFigures> => [name, (row) => Math.round(find(row, name)?.perSecond ?? Number.NaN)],
    ),
    ...otherColumns(figures, "× (x)", timesDeliveries),
  ]);
}

function costTable(figures: AudienceFigures[]): Table {
  const ours = (counter: string) => (row: AudienceFigures) => find(row, NAMES.playhead)?.each[counter] ?? null;
  return toTable("CPU of the server a delivery at the ceiling, µs", figures, [
    ["", ({ audience }) => nameOf(audience)],
    ...namesOf(figures).map((name): Column<AudienceFigures> => [name, (row) => find(row, name)?.each.server ?? null]),
    ...otherColumns(figures, "(x) / Playhead", timesCpu),
    ["Playhead's PostgreSQL", ours("PostgreSQL")],
    ["a dashboard of the load", ours("generator")],
    ["bytes a frame", ours("bytes")],
  ]);
}

function latencyTable(figures: AudienceFigures[]): Table {
  const rows = figures.flatMap((one) => one.halves.map((half) => ({ ...one, half })));
  type Row = (typeof rows)[number];
  const p99 = ({ halves }: Row, name: string) => halves.find((half) => half.name === name)?.latency?.p99;
  return toTable<Row>("From when an update was due to its frame, at half of each server's own ceiling, ms", rows, [
    ["", ({ audience }) => nameOf(audience)],
    ["server", ({ half }) => half.name],
    ["deliveries a second", ({ half }) => Math.round(half.perSecond)],
    ...latencyColumns<Row>(({ half }) => half.latency),
    ...otherColumns<Row>(figures, "p99 / (x)", (row, other) =>
      row.half.name === NAMES.playhead ? ratioOf(p99(row, NAMES.playhead), p99(row, other)) : null,
    ),
  ]);
}

function toPlot(
  figures: AudienceFigures[],
  name: string,
  label: string,
  pick: (summary: Summary) => number | null,
): Plot {
  const onOne = figures.filter(({ audience }) => audience.topics === 1);
  return {
    name,
    title: `${label}, by dashboards on one topic`,
    x: { label: "dashboards", isLog: true },
    y: { label, isLog: true },
    series: namesOf(figures).map((server) =>
      toLine(server, onOne, (row) => [row.audience.dashboards, pick(find(row, server) as Summary)]),
    ),
  };
}

function toAims(figures: AudienceFigures[]): Aim[] {
  // The largest audiences: with more dashboards, other work than fan-out weighs less.
  const [one, many] = [true, false].map((isOne) =>
    figures.findLast(({ audience }) => (audience.topics === 1) === isOne),
  );
  const toJudged = (row: AudienceFigures | undefined, because: string): Judged => ({
    what: `fan-out deliveries a second, ${row === undefined ? "" : nameOf(row.audience)}`,
    atLeast: 0.9,
    unit: " × bare publish",
    value: row && timesDeliveries(row, NAMES.bare),
    beside: `by CPU a delivery ${times((row && timesCpu(row, NAMES.bare)) ?? null)}`,
    because,
  });
  return judge([toJudged(one, MADE_ONCE), toJudged(many, MADE_FOR_TEN)]);
}

const MADE_ONCE = "Beside the sends, the server pings all connections and sends the sums of topics.";
const MADE_FOR_TEN =
  "Every topic needs its own notification, row and frame, which only ten dashboards share; PostgreSQL shares the cores.";

function toNotes(figures: AudienceFigures[]): string[] {
  return figures.flatMap(({ audience, ceilings, halves }) =>
    [...ceilings, ...halves].flatMap(({ name, refused }) => {
      const wrong = listCounts(refused);
      return wrong === "" ? [] : [`${nameOf(audience)}, ${name}: ${wrong}.`];
    }),
  );
}
