import type { LatencySummary } from "../harness/latency.ts";
import { printTable } from "../harness/table.ts";
import type { Figures } from "./figures.ts";

const ACK_P99_AIM_MS = 150;
const BARE_AIM = 0.5;
const RECOUNT_AIM = 10;
const MEMORY_AIM_KB = 14;
/** The kernel's own work and this process come to less. */
const BUSY_CORES = 0.3;

/** The figures beside each other, and beside what they should be. */
export function printReport(figures: Figures): void {
  const { ours, half, bare, recount, idle } = figures;
  console.log(`\n${figures.machine}`);
  console.log(
    `${figures.connections} players, each a user of its own with one heartbeat in flight, in ${figures.courses} courses; WRITERS=${figures.writers}.`,
  );
  printTable(
    ["figure", "Playhead", "(a) bare batch", "(b) POST + recount"],
    [
      [
        "durable heartbeats a second, at saturation",
        whole(ours.perSecond),
        whole(bare.perSecond),
        whole(recount.perSecond),
      ],
      ["  in each round", rounds(ours.perRound), rounds(bare.perRound), rounds(recount.perRound)],
      ["ack p50 / p99 at saturation, ms", times(ours.latency), "", times(recount.latency)],
      [`ack p50 / p99 at ${whole(half.ratePerSecond)} a second, ms`, times([half.latency]), "", ""],
      [
        `heartbeat to dashboard p50 / p99 at ${whole(half.ratePerSecond)} a second, ms`,
        times([half.dashboard]),
        "",
        "",
      ],
      [
        "server CPU a heartbeat, µs",
        micros(ours.cost.serverCpuSeconds, ours.cost.heartbeats),
        "",
        micros(recount.serverCpuSeconds, recount.requests),
      ],
      [
        "PostgreSQL CPU a heartbeat, µs",
        micros(ours.cost.postgresCpuSeconds, ours.cost.heartbeats),
        micros(bare.postgresCpuSeconds, bare.rows),
        micros(recount.postgresCpuSeconds, recount.requests),
      ],
      [`memory an idle connection (of ${whole(idle.connections)}), KB`, idle.kbPerConnection.toFixed(1), "", ""],
    ],
  );
  printTable(
    ["aim", "seen", "met"],
    [
      verdict(
        `at least ${BARE_AIM} of (a)`,
        (ours.perSecond / bare.perSecond).toFixed(2),
        ours.perSecond >= BARE_AIM * bare.perSecond,
      ),
      verdict(
        `at least ${RECOUNT_AIM} times (b)`,
        (ours.perSecond / recount.perSecond).toFixed(1),
        ours.perSecond >= RECOUNT_AIM * recount.perSecond,
      ),
      verdict(
        `ack p99 under ${ACK_P99_AIM_MS} ms at half the top rate`,
        half.latency.p99Ms.toFixed(1),
        half.latency.p99Ms < ACK_P99_AIM_MS,
      ),
      verdict(
        `under ${MEMORY_AIM_KB} KB an idle connection`,
        idle.kbPerConnection.toFixed(1),
        idle.kbPerConnection < MEMORY_AIM_KB,
      ),
    ],
  );
  printRemarks(figures);
}

function printRemarks({ ours, half, recount, after, foreignCores }: Figures): void {
  const { cost } = ours;
  if (foreignCores !== null) {
    console.log(
      `Other processes took ${foreignCores.toFixed(2)} cores meanwhile${foreignCores > BUSY_CORES ? ": THE MACHINE WAS BUSY, measure again" : ""}.`,
    );
  }
  console.log(
    `Rows a heartbeat ${(cost.rows / cost.heartbeats).toFixed(2)}, rows a batch ${whole(cost.rows / cost.batches)}.`,
  );
  console.log(
    `The players' processes took ${((ours.generatorCpuSeconds / cost.serverCpuSeconds) * 100).toFixed(0)} % of what the server took.`,
  );
  console.log(
    `At half the rate: ${whole(half.perSecond)} acked a second, a beat sent at most ${half.lateMs.toFixed(0)} ms late, slowest ack ${half.latency.maxMs.toFixed(0)} ms,`,
    `${micros(half.cost.serverCpuSeconds, half.cost.heartbeats)} µs server and ${micros(half.cost.postgresCpuSeconds, half.cost.heartbeats)} µs PostgreSQL a heartbeat.`,
  );
  console.log(
    `Refused: ours ${list({ ...ours.refused, ...half.refused })}; (b) ${list(recount.refused)}. Never shown on the dashboard: ${half.unseen}.`,
  );
  console.log(
    `Deadlocks ${after.deadlocks}; claims cut by the budget ${whole(after.budgetCutMs / 1000)} s; aggregates that differ from a recount ${after.wrongAggregates}.`,
  );
}

function verdict(aim: string, seen: string, met: boolean): string[] {
  return [aim, seen, met ? "yes" : "NO"];
}

function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function rounds(values: number[]): string {
  return values.map(whole).join(" / ");
}

/** Of several rounds the worst. */
function times(summaries: LatencySummary[]): string {
  const worst = (pick: (summary: LatencySummary) => number) => Math.max(...summaries.map(pick)).toFixed(1);
  return `${worst((summary) => summary.p50Ms)} / ${worst((summary) => summary.p99Ms)}`;
}

function micros(seconds: number | null, count: number): string {
  return seconds === null ? "n/a" : ((seconds * 1e6) / count).toFixed(1);
}

function list(counts: Record<string, number>): string {
  const entries = Object.entries(counts);
  return entries.length === 0 ? "none" : entries.map(([name, count]) => `${name} ${count}`).join(", ");
}
