import type { Aim, Plot, Section, Table } from "../harness/section.ts";
import type { Accepted } from "./accept.ts";
import { BARE, PLAYHEAD, SOCKETIO } from "./contenders.ts";
import { type Idle, kbOverEmpty, kbOverFirst } from "./idle.ts";
import type { Storm } from "./storm.ts";

export interface ConnectionFigures {
  /** Connections asked for; the machine may allow fewer. */
  wanted: number;
  idle: Idle[];
  accepted: Accepted[];
  /** Of one token's check, in CPU. */
  verifyMicros: number;
  storm: Storm;
  rounds: number;
  isQuick: boolean;
}

const MAX_KB = 12;
/** A player that is back before its next heartbeat is due has lost nothing but its place in the row. */
const BACK_WITHIN_MS = 10_000;
const MB = 2 ** 20;

export function toSection(figures: ConnectionFigures): Section {
  const { idle, storm, rounds, isQuick, wanted } = figures;
  const most = idle[0]?.steps.at(-1)?.connections ?? 0;
  return {
    command: "connections",
    title: "Connections",
    about: [
      `**Idle connections** are let in with a token of their own, answer pings, and say nothing. Each server is alone with them: its resident memory is the median of five readings, each after a collection of garbage, at every step up to ${most} connections; its CPU is that of ${isQuick ? 15 : 30} s in which nobody says anything. Beside it Socket.IO on Node's own server, tuned as its documentation advises and with the same check of tokens, and uWebSockets.js without anything, which asks for no token.`,
      `**Letting in**: ${isQuick ? 500 : 2000} connections as fast as they go, 100 under way at any time, all servers in turn, ${rounds} rounds, medians. The clients take a part of the same cores; the server's CPU a connection is its own.`,
      `**The storm**: a node is killed (SIGKILL) with ${storm.connections} connections and started again at once on its port; PostgreSQL goes on. ${storm.sdkConnections} are connections of the SDK, the others keep to its schedule on bare sockets: again after 0.5 s, twice as long after every failure, each time half as much more or less. Whoever is in sends a heartbeat. Times count from the kill.`,
    ].join("\n\n"),
    takenAt: new Date().toISOString(),
    foreignCores: worst(idle.map(({ foreignCores }) => foreignCores)),
    tables: [toMemoryTable(idle), toStepsTable(idle), toAcceptTable(figures), toStormTable(storm)],
    plots: [toMemoryPlot(idle), toStormPlot(storm)],
    aims: toAims(figures),
    notes: [
      ...(most < wanted
        ? [`${wanted} connections were asked for; a process may open too few files here for more than ${most}.`]
        : []),
      ...toRefusals(storm),
      ...(isQuick ? ["A quick look: few connections, one round; memory a connection is rough."] : []),
    ],
  };
}

function toMemoryTable(idle: Idle[]): Table {
  const own = find(idle, PLAYHEAD);
  return {
    title: "An idle connection",
    columns: ["", "KB over the empty process", "KB beyond the first 500", "ratio", "CPU a second, µs", "ratio"],
    rows: idle.map((each) => [
      each.contender,
      kbOverEmpty(each),
      kbOverFirst(each),
      ratio(kbOverEmpty(own), kbOverEmpty(each)),
      each.cpuMicrosPerConnectionSecond,
      ratio(own.cpuMicrosPerConnectionSecond, each.cpuMicrosPerConnectionSecond),
    ]),
  };
}

function toStepsTable(idle: Idle[]): Table {
  return {
    title: "Memory by the number of connections, MB resident (of which JavaScript's heap)",
    columns: ["connections", ...idle.map(({ contender }) => contender)],
    rows: (idle[0]?.steps ?? []).map(({ connections }, i) => [
      connections,
      ...idle.map(({ steps }) => {
        const step = steps[i];
        return step === undefined
          ? null
          : `${(step.residentBytes / MB).toFixed(0)} (${(step.heapBytes / MB).toFixed(0)})`;
      }),
    ]),
  };
}

function toAcceptTable({ accepted, verifyMicros }: ConnectionFigures): Table {
  const own = accepted.find(({ name }) => name === PLAYHEAD);
  return {
    title: `Letting in (the check of a token by itself: ${verifyMicros.toFixed(0)} µs of CPU)`,
    columns: ["", "connections a second", "ratio", "p50, ms", "p99, ms", "server CPU each, µs"],
    rows: accepted.map(({ name, perSecond, p50Ms, p99Ms, cpuMicros }) => [
      name,
      perSecond,
      ratio(own?.perSecond ?? Number.NaN, perSecond),
      p50Ms,
      p99Ms,
      cpuMicros,
    ]),
  };
}

function toStormTable(storm: Storm): Table {
  const row = (name: string, times: number[]) => [
    name,
    ...[0.5, 0.9, 0.99, 1].map((share) => seconds(percentile(times, share))),
  ];
  return {
    title: `After the death of a node with ${storm.connections} connections, seconds`,
    columns: ["", "p50", "p90", "p99", "the last"],
    rows: [
      row("connected again", storm.connectedMs),
      row("a heartbeat acked", storm.ackedMs),
      ["the node takes connections again", null, null, null, seconds(storm.startedAgainMs)],
    ],
  };
}

function toMemoryPlot(idle: Idle[]): Plot {
  return {
    name: "connections-memory",
    title: "Memory of idle connections",
    x: { label: "connections" },
    y: { label: "MB over the empty process" },
    series: idle.map(({ contender, steps }) => ({
      label: contender,
      points: steps.map(({ connections, residentBytes }) => [
        connections,
        (residentBytes - (steps[0]?.residentBytes ?? 0)) / MB,
      ]),
    })),
  };
}

function toStormPlot(storm: Storm): Plot {
  const lastMs = storm.ackedMs.at(-1) ?? 0;
  const stepMs = Math.max(50, lastMs / 100);
  const toPoints = (times: number[]) => {
    const points: [number, number][] = [];
    let back = 0;
    for (let at = 0; at <= lastMs + stepMs; at += stepMs) {
      while (back < times.length && (times[back] as number) <= at) back += 1;
      points.push([at / 1000, back]);
    }
    return points;
  };
  return {
    name: "connections-storm",
    title: "Back after the death of their node",
    x: { label: "seconds since" },
    y: { label: "connections" },
    series: [
      { label: "connected", points: toPoints(storm.connectedMs) },
      { label: "a heartbeat acked", points: toPoints(storm.ackedMs) },
    ],
  };
}

function toAims({ idle, storm, isQuick }: ConnectionFigures): Aim[] {
  const own = find(idle, PLAYHEAD);
  const kb = Math.max(kbOverEmpty(own), kbOverFirst(own));
  const backMs = percentile(storm.ackedMs, 0.99);
  const isBack = storm.missing === 0 && backMs <= BACK_WITHIN_MS;
  return [
    {
      what: "idle connection",
      aim: `≤ ${MAX_KB} KB over the empty process`,
      seen: `${kb.toFixed(1)} KB${isQuick ? " (rough)" : ""}; ${SOCKETIO} ${kbOverEmpty(find(idle, SOCKETIO)).toFixed(1)}, ${BARE} ${kbOverEmpty(find(idle, BARE)).toFixed(1)}`,
      isMet: kb <= MAX_KB,
    },
    {
      what: "back after the death of a node",
      aim: `p99 of a heartbeat acked ≤ ${BACK_WITHIN_MS / 1000} s, nobody missing`,
      seen: `${(backMs / 1000).toFixed(1)} s, ${storm.missing} missing`,
      isMet: isBack,
    },
  ];
}

function toRefusals({ refused, attempts, connections, serverCpuSeconds }: Storm): string[] {
  const shown = Object.entries(refused).map(([what, count]) => `${count} × ${what}`);
  return [
    `The storm took ${attempts} attempts of ${connections} clients, and ${serverCpuSeconds.toFixed(1)} s of the new process's CPU, its start included. What they met meanwhile: ${shown.join(", ") || "nothing"}.`,
  ];
}

function find(idle: Idle[], name: string): Idle {
  const found = idle.find(({ contender }) => contender === name);
  if (found === undefined) throw new Error(`${name} was not measured`);
  return found;
}

function ratio(own: number, other: number): string {
  return `${(own / other).toFixed(2)} ×`;
}

function seconds(ms: number): number {
  return Math.round(ms) / 1000;
}

function percentile(sorted: number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))] ?? Number.NaN;
}

function worst(values: (number | null)[]): number | null {
  return values.some((value) => value === null) ? null : Math.max(...(values as number[]));
}
