import { availableParallelism } from "node:os";
import type { Findings, Plot, Table } from "../harness/section.ts";
import { listCounts } from "../harness/statistics.ts";
import {
  type Column,
  eachColumns,
  latencyColumns,
  latencyLines,
  ratioOf,
  times,
  toLine,
  toTable,
  whole,
} from "../harness/table.ts";
import { medianOrNull, type Step, type Summary, sustained, totalMicros } from "../harness/window.ts";
import { NAMES } from "./contenders.ts";
import { durableMicros, type Figures, standingOf, toAims, unseenOf } from "./figures.ts";

export function toSection(figures: Figures): Findings {
  const { options, standings, ladders } = figures;
  return {
    title: "Ingest: durable heartbeats",
    about: toAbout(figures),
    foreignCores: medianOrNull(standings.map(({ foreignCores }) => foreignCores)),
    isPartial: options.isPartial,
    tables: [
      rateTable(standings),
      cpuTable(figures),
      workersTable(figures),
      ...ladders.map(({ workers, steps }) => toTable(`Offered load, WORKERS=${workers}`, steps, stepColumns(figures))),
      watchedTable(figures),
      socketsTable(figures),
    ],
    plots: toPlots(figures),
    aims: toAims(figures),
    notes: toNotes(figures),
  };
}

function toAbout({ options, ackBytes }: Figures): string {
  const { players, shape, seconds, rounds, stepSeconds, acks } = options;
  const size = ackBytes === null ? "" : `, ${ackBytes} bytes on the wire`;
  return [
    `${whole(players)} players on raw WebSockets, each another user, watch ${shape.courses} courses of ${shape.files} files. The server acks a heartbeat after COMMIT. Each heartbeat plays the next 100 ms, so it always adds to the watched ranges. Players ask for ${acks} acks${size}. Server, PostgreSQL, players and contenders share ${availableParallelism()} cores.`,
    `**Closed loop**: every player sends its next heartbeat after the ack of its last one. All contenders run in turn, ${rounds === 1 ? "one round" : `${rounds} rounds`} of ${seconds} s, on one PostgreSQL with the same settings. Figures are medians of the rounds; latencies are of all rounds together. **Offered load**: heartbeats are due at even intervals, whether acks come or not. Latency counts from the time when a heartbeat was *due*, so a stall adds to the latency of every heartbeat that waited for its end. A step takes ${stepSeconds} s. The last step is the first that the server did not keep up with: it acked less than 97 % of the offered heartbeats, or the mean wait in the last third of the window was above 1.5 times that in the first, plus 50 ms.`,
    "(a) is one HTTP POST and one upsert for each heartbeat, with row triggers that recount the lesson and the course. (b) is Socket.IO on Node's HTTP server with `ws`, `bufferutil` and `@socket.io/redis-adapter`. For each event it runs one prepared upsert of the position, on a table without triggers; then it acks, and emits to the course's room. Another row shows it without the emit.",
    "(d) are limits, not designs. **The floor** is one process: a bare uWebSockets.js that parses the players' frames, holds their acks as Playhead does, writes each batch with a `pg` client, and then sends acks as long as Playhead's. A batch has at most 1,000 heartbeats and is written at most every 50 ms. It is one statement that writes three rows for each heartbeat (the user's file, lesson and course) to tables without triggers or references. The floor checks no token, no schema and no budget, and tells no dashboard. The bare batch is a `pg` client alone that writes the user's row of the file. COPY writes into a table without keys. The bare uWebSockets.js acks at once.",
  ].join("\n\n");
}

function rateTable(standings: Summary[]): Table {
  return toTable("Durable heartbeats a second, one process, closed loop", standings, [
    ["", ({ name }) => name],
    ["heartbeats/s", ({ perSecond }) => Math.round(perSecond)],
    ["Playhead is", ({ perSecond }) => times(ratioOf(standings[0]?.perSecond, perSecond))],
    ["each round", ({ perRound }) => perRound.map(whole).join(" / ")],
    ...latencyColumns<Summary>(({ latency }) => latency),
  ]);
}

function cpuTable(figures: Figures): Table {
  const { standings } = figures;
  const [ours, floor] = [standings[0], durableMicros(standingOf(figures, NAMES.floor))];
  return toTable("CPU of a heartbeat, µs, in the same windows", standings, [
    ["", ({ name }) => name],
    ...eachColumns("server", "PostgreSQL", "Redis", "generator"),
    ["together", (standing) => totalMicros(standing)],
    ["Playhead takes", (standing) => times(ratioOf(ours && totalMicros(ours), totalMicros(standing)))],
    ["server and PostgreSQL", durableMicros],
    ["× the floor", (standing) => times(ratioOf(durableMicros(standing), floor))],
  ]);
}

/** Columns with the ratio of Playhead's rate to the rates of three contenders at saturation. */
function ratioColumns<Row>(figures: Figures, perSecond: (row: Row) => number, suffix = ""): Column<Row>[] {
  const columns = [
    ["× (a)", NAMES.recount],
    ["× (b)", NAMES.upsert],
    ["of bare batch", NAMES.bare],
  ] as const;
  return columns.map(([heading, name]) => [
    heading + suffix,
    (row) => times(ratioOf(perSecond(row), standingOf(figures, name)?.perSecond)) || null,
  ]);
}

function workersTable(figures: Figures): Table {
  type Ladder = Figures["ladders"][number];
  return toTable<Ladder>("Workers", figures.ladders, [
    ["WORKERS", ({ workers }) => workers],
    ["closed loop/s", ({ topPerSecond }) => Math.round(topPerSecond)],
    ...ratioColumns<Ladder>(figures, ({ topPerSecond }) => topPerSecond),
    ["offered and kept up with/s", ({ steps }) => sustained(steps)],
    // The blank makes the headings of a table differ.
    ...ratioColumns<Ladder>(figures, ({ steps }) => sustained(steps), " "),
  ]);
}

function stepColumns(figures: Figures): Column<Step>[] {
  return [
    ["offered/s", ({ ratePerSecond }) => ratePerSecond],
    ["acked/s", ({ workPerSecond }) => Math.round(workPerSecond)],
    ...latencyColumns<Step>(({ latency }) => latency),
    ["keeps up", ({ failure }) => (failure === null ? "yes" : `no: ${failure}`)],
    ["rows a heartbeat", ({ each }) => each.rows?.toFixed(2) ?? null],
    ...eachColumns("server µs", "PostgreSQL µs", "generator µs"),
    ...ratioColumns<Step>(figures, ({ workPerSecond }) => workPerSecond),
  ];
}

function watchedTable(figures: Figures): Table {
  const rows = figures.watched.flatMap((one) => [one.ack, one.dashboard].map((seen) => ({ ...one, seen })));
  type Row = (typeof rows)[number];
  return toTable<Row>("With a dashboard watching one of the courses", rows, [
    ["heartbeats/s", ({ ack }) => Math.round(ack.workPerSecond)],
    ["frame interval ms", ({ frameIntervalMs }) => frameIntervalMs],
    ["WORKERS", () => 1],
    ["from due to", ({ seen }) => seen.name],
    ...latencyColumns<Row>(({ seen }) => seen.latency),
    ["never shown", (row) => (row.seen === row.dashboard ? unseenOf(row) : null)],
    ...ratioColumns<Row>(figures, ({ ack }) => ack.workPerSecond),
  ]);
}

function socketsTable({ sockets }: Figures): Table {
  const [rate, bare] = [whole(sockets[0]?.perSecond ?? 0), sockets.at(-1)];
  return toTable<Summary>(`Socket work: CPU of a heartbeat without a database, at ${rate} a second`, sockets, [
    ["", ({ name }) => name],
    ["heartbeats/s", ({ perSecond }) => Math.round(perSecond)],
    ...eachColumns("server µs"),
    ["× bare", ({ each }) => times(ratioOf(each.server, bare?.each.server))],
    ...eachColumns("generator µs"),
    ...latencyColumns<Summary>(({ latency }) => latency),
  ]);
}

function toPlots({ ladders }: Figures): Plot[] {
  const x = { label: "heartbeats offered a second" };
  const most = Math.max(...ladders.flatMap(({ steps }) => steps.map(({ ratePerSecond }) => ratePerSecond)));
  const acked = ladders.map(({ workers, steps }) =>
    toLine(`WORKERS=${workers}`, steps, ({ ratePerSecond, workPerSecond }) => [ratePerSecond, workPerSecond]),
  );
  const asOffered = ladders.length === 0 ? [] : [toLine("as offered", [0, most], (rate) => [rate, rate])];
  return [
    ...ladders.map(({ workers, steps }) => ({
      name: `ingest-latency-${workers}`,
      title: `Ack latency against offered load, WORKERS=${workers}`,
      x,
      y: { label: "from due to ack, ms", isLog: true },
      series: latencyLines(steps, ({ ratePerSecond, latency }) => [ratePerSecond, latency]),
    })),
    {
      name: "ingest-achieved",
      title: "Acked against offered",
      x,
      y: { label: "acked a second" },
      series: [...asOffered, ...acked],
    },
  ];
}

function toNotes(figures: Figures): string[] {
  const { options, standings, ladders, watched, sockets, aftermaths } = figures;
  const notes: string[] = [];
  const settings = Object.entries(options.env).map(([name, value]) => `${name}=${value}`);
  if (settings.length > 0) notes.push(`The server was started with ${settings.join(" ")}.`);
  if (options.nodeFlags.length > 0) notes.push(`The server's Node was started with ${options.nodeFlags.join(" ")}.`);
  if (options.profile !== null) notes.push(`The CPU profile is in ${options.profile}; the profiler slows the server.`);
  if (standings.length > 1 && standingOf(figures, NAMES.upsert) === undefined) {
    notes.push("(b) was left out: it needs Redis, and redis-server is missing (apt-get install -y redis-server).");
  }
  const { rows, batches } = standings[0]?.each ?? {};
  if (rows && batches) {
    notes.push(
      `In the closed loop Playhead wrote ${rows.toFixed(2)} rows a heartbeat, ${Math.round(rows / batches)} a batch.`,
    );
  }
  const refusals = [
    ...standings,
    ...ladders.flatMap(({ workers, steps }) =>
      steps.map((step) => ({ ...step, name: `offered load, WORKERS=${workers}` })),
    ),
    ...watched.map(({ ack }) => ({ ...ack, name: "with a dashboard" })),
    ...sockets,
  ].filter(({ refused }) => Object.keys(refused).length > 0);
  const told = refusals.map(({ name, refused }) => `${name}: ${listCounts(refused)}`).join("; ");
  notes.push(refusals.length === 0 ? "No server refused a heartbeat." : `Heartbeats refused: ${told}.`);
  for (const { server, deadlocks, wrongSums, budgetCutMs } of aftermaths) {
    notes.push(
      `After the load (${server}): ${deadlocks} deadlocks, ${wrongSums} sums that differ from a recount, ${Math.round(budgetCutMs / 1000)} s of claims cut by the budget of watching.`,
    );
  }
  return notes;
}
