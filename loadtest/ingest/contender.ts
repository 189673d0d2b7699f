import { type LatencySummary, summarize } from "../harness/latency.ts";
import type { Counts } from "../load/cost-window.ts";

/*
 * Whoever writes heartbeats, measured the same way: what was acked in a window, how long it took, and whose CPU it was.
 */

export interface Window {
  warmupSeconds: number;
  seconds: number;
}

/** Core-seconds of a window, by whose they are; without an entry where there is none, null where it is not known. */
export type CpuUse = Counts<"server" | "PostgreSQL" | "Redis" | "generator" | "machine">;

export interface Round {
  /** Acked (rows written, where nobody acks) within the window. */
  heartbeats: number;
  /** How long the window was. */
  seconds: number;
  /** Encoded; empty where nobody waits for an ack. */
  latencies: string[];
  cpu: CpuUse;
  refused: Record<string, number>;
}

export interface Contender {
  name: string;
  measure(window: Window): Promise<Round>;
}

/** All rounds of a contender. */
export interface Standing {
  name: string;
  /** The median of the rounds. */
  perSecond: number;
  perRound: number[];
  /** Of all rounds together; null where nobody waits for an ack. */
  latency: LatencySummary | null;
  /** CPU of a heartbeat in µs; as CpuUse. */
  cpuMicros: CpuUse;
  /** Core-seconds that nobody named here used, and of how many seconds; null where it is not known. */
  foreign: { coreSeconds: number; seconds: number } | null;
  refused: Record<string, number>;
}

/** Measures all in turn, round by round: what the machine does meanwhile meets all of them alike. */
export async function measureInTurn(
  contenders: Contender[],
  plan: { rounds: number; windowOf(round: number): Window; tell(what: string, share: number): void },
): Promise<Standing[]> {
  const rounds = new Map<Contender, Round[]>(contenders.map((contender) => [contender, []]));
  for (let round = 0; round < plan.rounds; round++) {
    for (const [i, contender] of contenders.entries()) {
      const share = (round * contenders.length + i) / (plan.rounds * contenders.length);
      plan.tell(`round ${round + 1} of ${plan.rounds}: ${contender.name}`, share);
      rounds.get(contender)?.push(await contender.measure(plan.windowOf(round)));
    }
  }
  return contenders.map(({ name }, i) => toStanding(name, rounds.get(contenders[i] as Contender) ?? []));
}

function toStanding(name: string, rounds: Round[]): Standing {
  const heartbeats = sum(rounds.map((round) => round.heartbeats));
  const perRound = rounds.map((round) => round.heartbeats / round.seconds);
  const cpu: CpuUse = {};
  for (const { cpu: used } of rounds) {
    for (const [whose, seconds] of Object.entries(used) as [keyof CpuUse, number | null][]) {
      const before = cpu[whose];
      cpu[whose] = before === null || seconds === null ? null : (before ?? 0) + seconds;
    }
  }
  const cpuMicros: CpuUse = {};
  for (const [whose, seconds] of Object.entries(cpu) as [keyof CpuUse, number | null][]) {
    cpuMicros[whose] = seconds === null || heartbeats === 0 ? null : (seconds * 1e6) / heartbeats;
  }
  const latencies = rounds.flatMap((round) => round.latencies);
  return {
    name,
    perSecond: median(perRound),
    perRound,
    latency: latencies.length === 0 ? null : summarize(latencies),
    cpuMicros,
    foreign: toForeign(cpu, sum(rounds.map((round) => round.seconds))),
    refused: mergeCounts(rounds.map((round) => round.refused)),
  };
}

function toForeign({ machine, ...named }: CpuUse, seconds: number): Standing["foreign"] {
  const all = Object.values(named);
  if (machine === undefined || machine === null || all.some((used) => used === null)) return null;
  return { coreSeconds: Math.max(0, machine - sum(all as number[])), seconds };
}

/** What a heartbeat costs all processes together, in µs; null where a part is not known. */
export function totalMicros({ machine: _, ...named }: CpuUse): number | null {
  const all = Object.values(named);
  return all.some((micros) => micros === null) ? null : sum(all as number[]);
}

export function mergeCounts(counts: Record<string, number>[]): Record<string, number> {
  const merged: Record<string, number> = {};
  for (const count of counts) {
    for (const [name, value] of Object.entries(count)) merged[name] = (merged[name] ?? 0) + value;
  }
  return merged;
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [below = Number.NaN, above = Number.NaN] = [sorted[middle - 1], sorted[middle]];
  return sorted.length % 2 === 0 ? (below + above) / 2 : above;
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
