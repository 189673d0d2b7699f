import { availableParallelism } from "node:os";
import { loadConfig } from "../../src/config.ts";
import type { Aim } from "../harness/section.ts";
import { type Standing, totalMicros } from "./contender.ts";
import { NAMES } from "./contenders.ts";
import { type Figures, standingOf } from "./figures.ts";
import { KEPT_SHARE } from "./offered.ts";
import { times } from "./tables.ts";

const TIMES_RECOUNT = 15;
const TIMES_UPSERT = 8;
const OF_BARE = 0.6;
const SOCKET_WORK = 1.5;
const ACK_OVER_FLUSH_MS = 40;
const DASHBOARD_P99_MS = 350;
/** Supabase's published p99 of Broadcast from Database, at 10,000 messages a second. */
const FAST_P99_MS = 159;

/** Supabase's rate; see FAST_P99_MS. */
export const FAST_RATE = 10_000;

export function toAims(figures: Figures): Aim[] {
  return [...throughput(figures), ...socketWork(figures), ...latency(figures), ...fastFrames(figures)];
}

function throughput(figures: Figures): Aim[] {
  const ours = figures.standings[0];
  if (ours === undefined) return [];
  const silent = standingOf(figures, NAMES.upsertSilent);
  const over = (standing: Standing) => ours.perSecond / standing.perSecond;
  const seenBeside = silent === undefined ? "" : ` (${times(over(silent))} without its emits)`;
  const aims = [
    { name: NAMES.recount, ratio: TIMES_RECOUNT, of: "(a)", more: "" },
    { name: NAMES.upsert, ratio: TIMES_UPSERT, of: "(b)", more: seenBeside },
    { name: NAMES.bare, ratio: OF_BARE, of: "the bare batch", more: "" },
  ];
  return aims.flatMap(({ name, ratio, of, more }) => {
    const peer = standingOf(figures, name);
    if (peer === undefined) return [];
    const seen = `${times(over(peer))}${more}`;
    return aim("durable heartbeats/s, one process", `≥ ${ratio} × ${of}`, seen, over(peer) >= ratio, () =>
      explain(ours, peer, ratio),
    );
  });
}

/** Where all cores are busy, CPU is what decides: what there is for a heartbeat, and what it takes. */
function explain(ours: Standing, peer: Standing, ratio: number): string {
  const own = totalMicros(ours.cpuMicros);
  const theirs = totalMicros(peer.cpuMicros);
  if (own === null || theirs === null) return "CPU is not known on this system.";
  const cores = availableParallelism();
  const { server = 0, PostgreSQL: postgres = 0, generator = 0 } = ours.cpuMicros;
  const parts = `${micros(server)} of the server's, ${micros(postgres)} of PostgreSQL's, ${micros(generator)} of the players'`;
  const allowed = (cores * 1e6) / (ratio * peer.perSecond);
  return `a heartbeat takes ${micros(own)} µs of CPU (${parts}), ${peer.name} ${micros(theirs)} µs; ${ratio} times its rate leaves ${micros(allowed)} µs of the ${cores} cores for a heartbeat with all that it takes.`;
}

function socketWork({ sockets }: Figures): Aim[] {
  const [ours, bare] = [sockets?.playhead.cpuMicros.server, sockets?.bare.cpuMicros.server];
  if (!sockets || !ours || !bare) return [];
  const isCarried = sockets.playhead.perSecond >= KEPT_SHARE * sockets.ratePerSecond;
  return [
    aim(
      "socket work of a heartbeat, database excluded",
      `≤ ${SOCKET_WORK} × bare uWebSockets.js`,
      `${times(ours / bare)} (${micros(ours)} and ${micros(bare)} µs)`,
      isCarried && ours <= SOCKET_WORK * bare,
      () =>
        isCarried
          ? "what bare uWebSockets.js does not do: limits, schema, catalogue, budget, presence, buffer, and the ack's own JSON; the profile of `--profile` has their shares."
          : "the rate was not carried, so that its cost means little: was the machine busy?",
    ),
  ];
}

function latency({ watched: { half } }: Figures): Aim[] {
  if (half === null) return [];
  const ackAim = loadConfig({}).FLUSH_INTERVAL_MS + ACK_OVER_FLUSH_MS;
  const at = `at half the top rate (${half.ratePerSecond.toLocaleString("en-US")}/s)`;
  return [
    aim(`ack p99 ${at}`, `≤ ${ackAim} ms`, ms(half.ack.p99Ms), half.ack.p99Ms <= ackAim, () => waits(half.ack.p50Ms)),
    aim(
      `heartbeat to dashboard p99 ${at}`,
      `≤ ${DASHBOARD_P99_MS} ms`,
      ms(half.dashboard.p99Ms),
      half.dashboard.p99Ms <= DASHBOARD_P99_MS && half.unseen === 0,
      () => `${half.unseen} were never shown; ${waits(half.dashboard.p50Ms)}`,
    ),
  ];
}

function fastFrames({ watched: { fast } }: Figures): Aim[] {
  if (fast === null) return [];
  const rate = fast.ratePerSecond.toLocaleString("en-US");
  const isWhole = fast.ratePerSecond >= FAST_RATE;
  const less = isWhole ? "" : `, the most that this machine carries of ${FAST_RATE.toLocaleString("en-US")}`;
  return [
    aim(
      `heartbeat to dashboard p99 at ${rate}/s${less}, frames of ${fast.frameIntervalMs} ms, WORKERS=${fast.workers}`,
      `≤ ${FAST_P99_MS} ms (Supabase, Broadcast from Database)`,
      ms(fast.dashboard.p99Ms),
      isWhole && fast.dashboard.p99Ms <= FAST_P99_MS && fast.unseen === 0,
      () =>
        isWhole
          ? `${fast.unseen} were never shown; ${waits(fast.dashboard.p50Ms)}`
          : "the rate is not reached with server, PostgreSQL and players on these cores.",
    ),
  ];
}

function waits(p50Ms: number): string {
  return `the median is ${ms(p50Ms)}: what is above it waits for a core, a flush before it, or the disk.`;
}

function aim(what: string, text: string, seen: string, isMet: boolean, because: () => string): Aim {
  return { what, aim: text, seen, isMet, ...(isMet ? {} : { because: because() }) };
}

function micros(value: number | null): string {
  return value === null ? "?" : value.toFixed(value < 10 ? 1 : 0);
}

function ms(value: number): string {
  return `${value.toFixed(0)} ms`;
}
