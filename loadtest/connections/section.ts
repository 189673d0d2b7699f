import { judge } from "../harness/aims.ts";
import type { Aim, Findings, Plot, Table } from "../harness/section.ts";
import { type Column, eachColumns, ratioOf, times, toLine, toTable } from "../harness/table.ts";
import type { Summary } from "../harness/window.ts";
import { type Idle, type MemoryStep, NAMES } from "./idle.ts";
import type { Storm } from "./storm.ts";

export interface Figures {
  /** The most connections that the flags ask for. The machine may allow fewer. */
  wanted: number;
  idle: Idle[];
  letIn: Summary[];
  /** Connections in a window. */
  count: number;
  verifyMicros: number;
  storm: Storm;
  rounds: number;
  quietSeconds: number;
}

const MB = 2 ** 20;

export function toSection(figures: Figures): Findings {
  const { idle, storm } = figures;
  const foreign = idle.map(({ foreignCores }) => foreignCores);
  return {
    title: "Connections",
    about: toAbout(figures),
    foreignCores: foreign.includes(null) ? null : Math.max(...(foreign as number[])),
    tables: [idleTable(idle), memoryTable(idle), letInTable(figures), stormTable(storm)],
    plots: [memoryPlot(idle), stormPlot(storm)],
    aims: toAims(figures),
    notes: toNotes(figures),
  };
}

function mostConnections(idle: Idle[]): number {
  return idle[0]?.steps.at(-1)?.connections ?? 0;
}

function toAbout({ idle, storm, rounds, count, quietSeconds }: Figures): string {
  return [
    `**Idle connections** connect with a token each, answer pings, and send nothing else. One server runs at a time. Its resident memory is the median of five readings, each after a garbage collection, at every step up to ${mostConnections(idle)} connections. Its CPU is measured over ${quietSeconds} s. The other contenders are Socket.IO on Node's own server, tuned as its documentation advises and with the same check of tokens, and a bare uWebSockets.js that answers the same packets and checks no token.`,
    `**Letting in**: ${count} connections as fast as possible, 100 at the same time, all servers in turn, ${rounds} rounds, medians. The clients use the same cores; the server's CPU is its own.`,
    `**The storm**: SIGKILL ends a node with ${storm.connections} connections, and a new node starts at once on its port; PostgreSQL runs on. The clients use raw sockets and the delays of the client library: 0.5 s, doubled after every failure, each time up to half more or less. After the connect a client sends a heartbeat. Times count from the kill.`,
  ].join("\n\n");
}

function idleTable(idle: Idle[]): Table {
  const own = find(idle, NAMES.playhead);
  return toTable<Idle>("An idle connection", idle, [
    ["", ({ name }) => name],
    ["KB over the empty process", (one) => one.kbOverEmpty],
    ["KB beyond the first 500", (one) => one.kbOverFirst],
    ["ratio", (other) => times(ratioOf(own.kbOverEmpty, other.kbOverEmpty))],
    ["CPU a second, µs", (other) => other.cpuMicrosPerConnectionSecond],
    ["ratio", (other) => times(ratioOf(own.cpuMicrosPerConnectionSecond, other.cpuMicrosPerConnectionSecond))],
  ]);
}

function memoryTable(idle: Idle[]): Table {
  const toMb = (bytes: number) => (bytes / MB).toFixed(0);
  const columns = idle.map(
    ({ name, steps }): Column<MemoryStep> => [
      name,
      ({ connections }) => {
        const step = steps.find((one) => one.connections === connections);
        return step === undefined ? null : `${toMb(step.residentBytes)} (${toMb(step.heapBytes)})`;
      },
    ],
  );
  return toTable<MemoryStep>(
    "Memory by the number of connections, MB resident (of which JavaScript's heap)",
    idle[0]?.steps ?? [],
    [["connections", ({ connections }) => connections], ...columns],
  );
}

function letInTable({ letIn, verifyMicros }: Figures): Table {
  const own = letIn.find(({ name }) => name === NAMES.playhead);
  return toTable<Summary>(`Letting in (the check of a token by itself: ${verifyMicros.toFixed(0)} µs of CPU)`, letIn, [
    ["", ({ name }) => name],
    ["connections a second", ({ perSecond }) => perSecond],
    ["ratio", ({ perSecond }) => times(ratioOf(own?.perSecond, perSecond))],
    ["p50, ms", ({ latency }) => latency?.p50 ?? null],
    ["p99, ms", ({ latency }) => latency?.p99 ?? null],
    ...eachColumns("server CPU each, µs"),
  ]);
}

function stormTable({ connections, connectedMs, ackedMs, startedAgainMs }: Storm): Table {
  const toRow = (name: string, times: number[]) => {
    return { name, times: [0.5, 0.9, 0.99, 1].map((share) => seconds(percentile(times, share))) };
  };
  const restart = { name: "the node takes connections again", times: [null, null, null, seconds(startedAgainMs)] };
  const rows = [toRow("connected again", connectedMs), toRow("a heartbeat acked", ackedMs), restart];
  type Row = { name: string; times: (number | null)[] };
  return toTable<Row>(`After the death of a node with ${connections} connections, seconds`, rows, [
    ["", ({ name }) => name],
    ...["p50", "p90", "p99", "the last"].map((heading, i): Column<Row> => [heading, ({ times }) => times[i] ?? null]),
  ]);
}

function memoryPlot(idle: Idle[]): Plot {
  return {
    name: "connections-memory",
    title: "Memory of idle connections",
    x: { label: "connections" },
    y: { label: "MB over the empty process" },
    series: idle.map(({ name, steps }) => {
      const empty = steps[0]?.residentBytes ?? 0;
      return toLine(name, steps, (step) => [step.connections, (step.residentBytes - empty) / MB]);
    }),
  };
}

function stormPlot({ connectedMs, ackedMs }: Storm): Plot {
  const lastMs = ackedMs.at(-1) ?? 0;
  const stepMs = Math.max(50, lastMs / 100);
  const moments = Array.from({ length: Math.ceil(lastMs / stepMs) + 2 }, (_, i) => i * stepMs);
  const toCurve = (label: string, times: number[]) =>
    toLine(label, moments, (at) => [at / 1000, times.filter((time) => time <= at).length]);
  return {
    name: "connections-storm",
    title: "Back after the death of their node",
    x: { label: "seconds since" },
    y: { label: "connections" },
    series: [toCurve("connected", connectedMs), toCurve("a heartbeat acked", ackedMs)],
  };
}

function toAims({ idle, storm }: Figures): Aim[] {
  const own = find(idle, NAMES.playhead);
  const others = [NAMES.socketIo, NAMES.bare].map((name) => `${name} ${find(idle, name).kbOverEmpty.toFixed(1)}`);
  return judge([
    {
      what: "idle connection",
      atMost: 12,
      unit: " KB over the empty process",
      value: Math.max(own.kbOverEmpty, own.kbOverFirst),
      beside: others.join(", "),
      because: "Socket.IO, the token and presence keep objects as long as the connection lives.",
    },
    {
      // A player that is back before its next heartbeat is due loses nothing.
      what: "back after the death of a node: p99 of a heartbeat acked",
      atMost: 10,
      unit: " s",
      value: percentile(storm.ackedMs, 0.99) / 1000,
      failure: storm.missing === 0 ? "" : `${storm.missing} missing`,
      because: "The server checks all tokens on one thread, and clients wait between attempts.",
    },
  ]);
}

function toNotes({ idle, wanted, storm }: Figures): string[] {
  const most = mostConnections(idle);
  const met = Object.entries(storm.refused).map(([what, count]) => `${count} × ${what}`);
  return [
    ...(most < wanted
      ? [`${wanted} connections were asked for; a process may open too few files here for more than ${most}.`]
      : []),
    `The storm took ${storm.attempts} attempts of ${storm.connections} clients, and ${storm.serverCpuSeconds.toFixed(1)} s of the new process's CPU, its start included. Failures of attempts: ${met.join(", ") || "none"}.`,
  ];
}

function find(idle: Idle[], name: string): Idle {
  return idle.find((one) => one.name === name) as Idle;
}

function seconds(ms: number): number {
  return Math.round(ms) / 1000;
}

function percentile(sorted: number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))] ?? Number.NaN;
}
