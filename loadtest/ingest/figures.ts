import { loadConfig } from "../../src/config.ts";
import { judge } from "../harness/aims.ts";
import type { Aim } from "../harness/section.ts";
import { ratioOf, whole } from "../harness/table.ts";
import { type Step, type Summary, totalMicros } from "../harness/window.ts";
import type { Aftermath } from "../load/database.ts";
import { NAMES } from "./contenders.ts";
import type { IngestOptions } from "./options.ts";

/** Supabase publishes a p99 of its Broadcast from Database for this many messages a second. */
export const FAST_RATE = 10_000;

/** The figures of a run. Lists are empty if a flag left their windows out. */
export interface Figures {
  options: IngestOptions;
  /** Bytes of an ack's frame on the wire. */
  ackBytes: number | null;
  /** All contenders at saturation. The first is Playhead. */
  standings: Summary[];
  ladders: { workers: number; topPerSecond: number; steps: Step[] }[];
  /** One at half the top rate, and one with short frames at FAST_RATE. */
  watched: Watched[];
  /** Playhead and the bare uWebSockets.js, both without a database. */
  sockets: Summary[];
  /** One for each server of the run. */
  aftermaths: (Aftermath & { server: string })[];
}

/** An open loop while a dashboard watches. Both latencies count from the time when a heartbeat was due. */
export interface Watched {
  isFast: boolean;
  ratePerSecond: number;
  frameIntervalMs: number;
  ack: Summary;
  dashboard: Summary;
}

/** How many heartbeats the dashboard never showed. */
export function unseenOf({ dashboard }: Watched): number {
  return dashboard.outcomes["no answer"] ?? 0;
}

/** Undefined if the contender was not measured. */
export function standingOf({ standings }: Figures, name: string): Summary | undefined {
  return standings.find((standing) => standing.name === name);
}

const ACK_OVER_FLUSH_MS = 40;
const CPU_WAIT =
  "Players, PostgreSQL and server share two cores: slow heartbeats wait for a core, for the flush before, or for the disk.";
const BUSY =
  "Both cores are busy, so the CPU of a heartbeat limits the rate, and the players take a fifth of it: on two cores the floor itself reaches only about 8 × (a) and 8 × (b).";
const NOT_IN_FLOOR =
  "The floor has no service and buffer (19 % of the server's time), writer (14 %), presence and relay (7 %) or schemas (6 %), so less garbage (15 %) too, and no guards and triggers in SQL.";

/** CPU of the server and of PostgreSQL for a durable heartbeat, in µs; null if unknown. */
export function durableMicros(standing: Summary | undefined): number | null {
  return standing === undefined ? null : totalMicros(standing, ["server", "PostgreSQL"]);
}

export function toAims(figures: Figures): Aim[] {
  const { standings, ackBytes, options } = figures;
  const [half, fast] = [false, true].map((isFast) => figures.watched.find((one) => one.isFast === isFast));
  const [own, floor] = [durableMicros(standings[0]), durableMicros(standingOf(figures, NAMES.floor))];
  const timesRate = (name: string) => ratioOf(standings[0]?.perSecond, standingOf(figures, name)?.perSecond);
  const atHalf = `at half the top rate (${whole(half?.ratePerSecond ?? 0)}/s)`;
  const isSlow = fast !== undefined && fast.ratePerSecond < FAST_RATE;
  return judge([
    {
      what: "server and PostgreSQL CPU of a durable heartbeat",
      atMost: 1.5,
      unit: " × the floor",
      value: ratioOf(own, floor),
      beside: `${own?.toFixed(1)} and ${floor?.toFixed(1)} µs`,
      because: NOT_IN_FLOOR,
    },
    {
      what: "durable heartbeats/s, one process",
      atLeast: 8,
      unit: " × (a)",
      value: timesRate(NAMES.recount),
      because: BUSY,
    },
    {
      what: "durable heartbeats/s, one process",
      atLeast: 6,
      unit: " × (b)",
      value: timesRate(NAMES.upsert),
      beside: `${timesRate(NAMES.upsertSilent)?.toFixed(2)} × without its emits`,
      because: BUSY,
    },
    {
      what: "brief ack of a heartbeat that goes on, on the wire",
      atMost: 120,
      unit: " bytes",
      value: options.acks === "brief" ? ackBytes : null,
      because: "The server acks with the whole progress.",
    },
    {
      what: `ack p99 ${atHalf}`,
      atMost: loadConfig({}).FLUSH_INTERVAL_MS + ACK_OVER_FLUSH_MS,
      unit: " ms",
      value: half?.ack.latency?.p99,
      because: CPU_WAIT,
    },
    {
      what: `heartbeat to dashboard p99 ${atHalf}`,
      atMost: 350,
      unit: " ms",
      value: half?.dashboard.latency?.p99,
      failure: neverShown(half),
      because: CPU_WAIT,
    },
    {
      what: `heartbeat to dashboard p99 at ${whole(fast?.ratePerSecond ?? 0)}/s, frames of ${fast?.frameIntervalMs} ms, WORKERS=1`,
      // See FAST_RATE.
      atMost: 159,
      unit: " ms",
      value: fast?.dashboard.latency?.p99,
      failure: isSlow ? `this machine does not carry ${whole(FAST_RATE)}/s` : neverShown(fast),
      because: CPU_WAIT,
    },
  ]);
}

function neverShown(watched: Watched | undefined): string {
  const unseen = watched === undefined ? 0 : unseenOf(watched);
  return unseen === 0 ? "" : `${unseen} were never shown`;
}
