import type { Aim, Cell, Section, Table } from "../harness/section.ts";
import { FRAME_INTERVAL_MS, LABELS } from "./contenders.ts";
import type { DialectName } from "./dialects.ts";
import type { Measured } from "./measure.ts";
import { nameOf, type Scenario } from "./scenarios.ts";

/** What was measured in one scenario, the servers in the order in which they are told. */
export interface Figures {
  scenario: Scenario;
  servers: { name: DialectName; ceilings: Measured[]; half: Measured }[];
}

interface Summary {
  name: DialectName;
  deliveries: number;
  cpuUs: number;
  databaseCpuUs: number | null;
  audienceCpuUs: number;
  rounds: number;
  bytes: number;
  half: Measured;
}

const PEERS: DialectName[] = ["bare", "socket.io", "soketi"];
const AIMS: { peer: DialectName; least: number; text: string }[] = [
  { peer: "bare", least: 0.9, text: "≥ 90 % of bare publish" },
  { peer: "socket.io", least: 4, text: "≥ 4 × (b) Socket.IO" },
  { peer: "soketi", least: 4, text: "≥ 4 × (c) soketi" },
];

export function toSection(
  figures: Figures[],
  { skipped, rounds, isQuick }: { skipped: string[]; rounds: number; isQuick: boolean },
): Section {
  const told = figures.map(({ scenario, servers }) => ({ scenario, servers: servers.map(summarizeServer) }));
  const all = figures.flatMap(({ servers }) => servers.flatMap(({ ceilings, half }) => [...ceilings, half]));
  const foreign = all.flatMap(({ foreignCores }) => foreignCores ?? []);
  return {
    command: "fanout",
    title: "Fan-out to dashboards",
    about:
      ABOUT +
      (isQuick ? "\n\nA quick look: one round, no more than 2,000 dashboards." : ` Medians of ${rounds} rounds.`),
    takenAt: new Date().toISOString(),
    foreignCores: foreign.length === 0 ? null : median(foreign),
    tables: [toCeilings(told), toCosts(told), toLatencies(told)],
    plots: [
      toPlot("fanout-deliveries", "Deliveries a second", told, ({ deliveries }) => deliveries),
      toPlot("fanout-cpu", "Server CPU a delivery, µs", told, ({ cpuUs }) => cpuUs),
    ],
    aims: toAims(told),
    notes: [...skipped, ...toNotes(figures)],
  };
}

type Told = { scenario: Scenario; servers: Summary[] }[];

const ABOUT =
  `A delivery is one update frame received by one dashboard. At Playhead a round begins with an \`UPDATE\` of one
learner's row per topic, and goes the whole way: trigger, NOTIFY, listener, relay, bus, hub, frame; its frame interval
is ${FRAME_INTERVAL_MS} ms here, the shortest there is, as with the 250 ms of a normal day conflation decides how many frames there are. The
others are told of a round by one message (soketi by its HTTP API, all topics in one batch) and publish the very update
that Playhead made, with nothing to read and nothing to decide. At the ceiling the next round begins as soon as the
first dashboard has seen the last one and all have seen the one before; at half of it rounds are due at even intervals,
and latency counts from when a round was due. Dashboards read nothing but the length of a frame; one in a hundred, or
one a topic, looks for the round's number. A topic's sums come once a second at Playhead, often in a frame of their
own: it counts as any other. The dashboards share the cores with the server: CPU a delivery compares what rates
cannot where both cores are busy, or where the frame interval decides.`.replaceAll("\n", " ");

function summarizeServer({ name, ceilings, half }: Figures["servers"][number]): Summary {
  const of = (pick: (measured: Measured) => number) => median(ceilings.map(pick));
  return {
    name,
    deliveries: of((one) => one.deliveriesPerSecond),
    cpuUs: of((one) => one.cpuUs),
    databaseCpuUs: ceilings.some((one) => one.databaseCpuUs === null) ? null : of((one) => one.databaseCpuUs ?? 0),
    audienceCpuUs: of((one) => one.audienceCpuUs),
    rounds: of((one) => one.roundsPerSecond),
    bytes: of((one) => one.bytesPerDelivery),
    half,
  };
}

function toCeilings(told: Told): Table {
  return {
    title: "Deliveries a second at the ceiling",
    columns: ["", ...serversOf(told).map((name) => LABELS[name]), ...peersOf(told).map((name) => `× ${shortOf(name)}`)],
    rows: told.map(({ scenario, servers }) => [
      nameOf(scenario),
      ...servers.map(({ deliveries }) => Math.round(deliveries)),
      ...peersOf(told).map((peer) => ratio(servers, "playhead", peer, ({ deliveries }) => deliveries)),
    ]),
  };
}

function toCosts(told: Told): Table {
  return {
    title: "CPU of the server a delivery at the ceiling, µs",
    columns: [
      "",
      ...serversOf(told).map((name) => LABELS[name]),
      ...peersOf(told).map((name) => `${shortOf(name)} / Playhead`),
      "Playhead's PostgreSQL",
      "a dashboard of the load",
      "bytes a frame",
    ],
    rows: told.map(({ scenario, servers }): Cell[] => {
      const ours = find(servers, "playhead");
      return [
        nameOf(scenario),
        ...servers.map(({ cpuUs }) => round(cpuUs, 2)),
        ...peersOf(told).map((peer) => ratio(servers, peer, "playhead", ({ cpuUs }) => cpuUs)),
        ours?.databaseCpuUs == null ? null : round(ours.databaseCpuUs, 2),
        ours === undefined ? null : round(ours.audienceCpuUs, 2),
        ours === undefined ? null : Math.round(ours.bytes),
      ];
    }),
  };
}

function toLatencies(told: Told): Table {
  const peers = peersOf(told);
  return {
    title: "From when a round was due to its frame, at half of each server's own ceiling, ms",
    columns: [
      "",
      "server",
      "deliveries a second",
      "p50",
      "p90",
      "p99",
      "p99.9",
      "max",
      ...peers.map((peer) => `p99 / ${shortOf(peer)}`),
    ],
    rows: told.flatMap(({ scenario, servers }) =>
      servers.map(({ name, half }): Cell[] => {
        const { p50Ms, p90Ms, p99Ms, p999Ms, maxMs } = half.latency;
        return [
          nameOf(scenario),
          LABELS[name],
          Math.round(half.deliveriesPerSecond),
          ...[p50Ms, p90Ms, p99Ms, p999Ms, maxMs].map((ms) => round(ms, 1)),
          ...peers.map((peer) => {
            const other = find(servers, peer)?.half.latency.p99Ms ?? 0;
            return name !== "playhead" || other === 0 ? null : round(p99Ms / other, 2);
          }),
        ];
      }),
    ),
  };
}

function toPlot(name: string, label: string, told: Told, pick: (summary: Summary) => number): Section["plots"][number] {
  const onOne = told.filter(({ scenario }) => scenario.topics === 1);
  return {
    name,
    title: `${label}, by dashboards on one topic`,
    x: { label: "dashboards", isLog: true },
    y: { label, isLog: true },
    series: serversOf(told).map((server) => ({
      label: LABELS[server],
      points: onOne.flatMap(({ scenario, servers }): [number, number][] => {
        const summary = find(servers, server);
        return summary === undefined ? [] : [[scenario.dashboards, pick(summary)]];
      }),
    })),
  };
}

function toAims(told: Told): Aim[] {
  // The largest audience of one topic: the more dashboards, the less it is about anything but fan-out.
  const last = told.filter(({ scenario }) => scenario.topics === 1).at(-1);
  if (last === undefined) return [];
  return AIMS.flatMap(({ peer, least, text }): Aim[] => {
    const deliveries = ratio(last.servers, "playhead", peer, (one) => one.deliveries);
    const cpu = ratio(last.servers, peer, "playhead", (one) => one.cpuUs);
    if (deliveries === null || cpu === null) return [];
    return [
      {
        what: `fan-out deliveries a second, ${nameOf(last.scenario)}`,
        aim: text,
        seen: `${deliveries} × (by CPU a delivery ${cpu} ×)`,
        isMet: deliveries >= least,
        ...(deliveries >= least ? {} : { because: toReason(last.servers, peer) }),
      },
    ];
  });
}

/** What the limit itself is to a peer says how much of it can be won at all. */
function toReason(servers: Summary[], peer: DialectName): string {
  const shared = "Dashboards and PostgreSQL share the two cores with the server; CPU a delivery leaves that out.";
  if (peer === "bare") {
    return `${shared} What Playhead does more a frame (the notification, the row read anew, its JSON) is divided by the dashboards that get it; what it does more a second (pings of all connections, sums of the topics) by the frames.`;
  }
  const rate = ratio(servers, "bare", peer, (one) => one.deliveries);
  const cpu = ratio(servers, "bare", peer, (one) => one.cpuUs);
  if (rate === null || cpu === null) return shared;
  return `Bare publish, the limit, is itself ${rate} × of it by deliveries and takes ${cpu} × its CPU: most of a delivery is the kernel's \`send\`, one a socket, which everybody has to make. ${shared}`;
}

function toNotes(figures: Figures[]): string[] {
  return figures.flatMap(({ scenario, servers }) =>
    servers.flatMap(({ name, ceilings, half }) => {
      const all = [...ceilings, half];
      const unseen = all.reduce((sum, one) => sum + one.unseen, 0);
      const closed = Math.max(...all.map((one) => one.closed));
      const notes: string[] = [];
      if (unseen > 0)
        notes.push(`${nameOf(scenario)}: ${unseen} rounds of ${LABELS[name]} were not seen by every probe.`);
      if (closed > 0) notes.push(`${nameOf(scenario)}: ${closed} dashboards of ${LABELS[name]} were closed.`);
      return notes;
    }),
  );
}

function find(servers: Summary[], name: DialectName): Summary | undefined {
  return servers.find((server) => server.name === name);
}

function serversOf(told: Told): DialectName[] {
  return told[0]?.servers.map(({ name }) => name) ?? [];
}

function peersOf(told: Told): DialectName[] {
  return PEERS.filter((peer) => serversOf(told).includes(peer));
}

function shortOf(name: DialectName): string {
  return LABELS[name].slice(0, 3);
}

function ratio(
  servers: Summary[],
  of: DialectName,
  to: DialectName,
  pick: (summary: Summary) => number,
): number | null {
  const [a, b] = [find(servers, of), find(servers, to)];
  return a === undefined || b === undefined || pick(b) === 0 ? null : round(pick(a) / pick(b), 2);
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return 0;
  return Number.isInteger(middle)
    ? ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
    : (sorted[Math.floor(middle)] as number);
}
