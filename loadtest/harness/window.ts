import { setTimeout as pause } from "node:timers/promises";
import { type LoadPlan, type LoadResult, OK } from "./load.ts";
import type { Tell } from "./section.ts";
import { type Counts, type LatencySummary, medianOf, mergeCounts, summarizeLatencies, sumOf } from "./statistics.ts";
import { whole } from "./table.ts";

/*
 * Measures contenders in windows. A window runs the load of a contender, and reads its counters after the warm-up and at
 * the end. In a round every contender has one window, so a disturbance of the machine hits all of them alike.
 */

/** Counters of CPU, in core-seconds. A further counter, `machine`, is the CPU of all processes together. */
const OWNERS = ["server", "PostgreSQL", "Redis", "generator"] as const;
type Owner = (typeof OWNERS)[number];

/** Counters that only grow, by name; null if unknown. They include the CPU of owners and of the machine. */
export type Readings = Record<string, number | null>;

/** Playhead, or something that it is compared with. `Plan` describes the load of a window. */
export interface Contender<Plan extends LoadPlan = LoadPlan> {
  name: string;
  /** Runs before each window. */
  prepare?(): Promise<unknown>;
  read(): Promise<Readings>;
  load(plan: Plan): Promise<LoadResult>;
  /** Runs after each window, and corrects its figures, such as by work that the window left undone. */
  settle?(window: Window): Promise<Window>;
}

/** The figures of one window. */
export interface Window extends LoadResult {
  /** The growth of each counter; `generator` is the CPU of the load. */
  grown: Readings;
  /** Cores that no owner used; null if unknown. */
  foreignCores: number | null;
}

/** The figures of all windows of a contender. */
export interface Summary {
  name: string;
  perSecond: number;
  perRound: number[];
  /** Operations done within the window, a second; the median. */
  workPerSecond: number;
  /** Over all windows together; null if the load had no answers. */
  latency: LatencySummary | null;
  /** How much an operation took of each counter, the median: CPU in µs, other counters in their unit. */
  each: Readings;
  foreignCores: number | null;
  lateMs: number;
  outcomes: Counts;
  /** Outcomes other than "ok". */
  refused: Counts;
}

export async function measureWindow<Plan extends LoadPlan>(
  { prepare, read, load, settle }: Contender<Plan>,
  plan: Plan,
): Promise<Window> {
  await prepare?.();
  const running = load(plan);
  const end = Number.isFinite(plan.seconds) ? () => pause(plan.seconds * 1000) : () => running;
  const [result, between] = await Promise.all([
    running,
    pause(plan.warmupSeconds * 1000).then(() => readBetween(read, end)),
  ]);
  const grown = { ...between.grown, ...result.counters, generator: result.cpuSeconds };
  const window = { ...result, grown, foreignCores: toForeignCores(grown, between.seconds) };
  return settle === undefined ? window : await settle(window);
}

export async function measureOnce<Plan extends LoadPlan>(contender: Contender<Plan>, plan: Plan): Promise<Summary> {
  return summarize(contender.name, [await measureWindow(contender, plan)]);
}

export interface TurnPlan<Plan extends LoadPlan> {
  rounds: number;
  /** Rounds before these, whose figures are dropped. */
  warmupRounds?: number;
  planOf(round: number, name: string): Plan;
  tell: Tell;
}

/** Measures the rounds. @returns one summary for each contender, in their order */
export async function measureInTurn<Plan extends LoadPlan>(
  contenders: readonly Contender<Plan>[],
  { rounds, warmupRounds = 0, planOf, tell }: TurnPlan<Plan>,
): Promise<Summary[]> {
  const windows = contenders.map((): Window[] => []);
  const all = rounds + warmupRounds;
  for (let round = 0; round < all; round++) {
    for (const [i, contender] of contenders.entries()) {
      tell(`round ${round + 1} of ${all}: ${contender.name}`, (round + i / contenders.length) / all);
      windows[i]?.push(await measureWindow(contender, planOf(round, contender.name)));
    }
  }
  return contenders.map(({ name }, i) => summarize(name, windows[i]?.slice(warmupRounds) ?? []));
}

/** Does the work. @returns the growth of the counters, and the time it took */
export async function readBetween(
  read: () => Promise<Readings>,
  work: () => Promise<unknown>,
): Promise<{ grown: Readings; seconds: number }> {
  const before = await read();
  const startedAt = performance.now();
  await work();
  const seconds = (performance.now() - startedAt) / 1000;
  const after = await read();
  const grown = Object.entries(after).map(([name, value]) => {
    const from = before[name] ?? null;
    // A sum over workers shrinks if a worker did not answer.
    return [name, value === null || from === null || value < from ? null : value - from];
  });
  return { grown: Object.fromEntries(grown), seconds };
}

export function summarize(name: string, windows: readonly Window[]): Summary {
  const perRound = windows.map(({ count, seconds }) => count / seconds);
  const latencies = windows.flatMap((window) => window.latencies ?? []);
  const outcomes = mergeCounts(windows.map((window) => window.outcomes ?? {}));
  const { [OK]: _, ...refused } = outcomes;
  const counters = new Set(windows.flatMap(({ grown }) => Object.keys(grown)));
  return {
    name,
    perSecond: medianOf(perRound),
    perRound,
    workPerSecond: medianOf(windows.map(({ work, seconds }) => work / seconds)),
    latency: summarizeLatencies(latencies),
    each: Object.fromEntries([...counters].map((counter) => [counter, eachOf(windows, counter)])),
    foreignCores: medianOrNull(windows.map(({ foreignCores }) => foreignCores)),
    lateMs: Math.max(0, ...windows.map(({ lateMs = 0 }) => lateMs)),
    outcomes,
    refused,
  };
}

function eachOf(windows: readonly Window[], counter: string): number | null {
  const unit = counter === "machine" || OWNERS.some((owner) => owner === counter) ? 1e6 : 1;
  return medianOrNull(
    windows.map(({ grown, work }) => {
      const value = grown[counter] ?? null;
      return value === null || work === 0 ? null : (value * unit) / work;
    }),
  );
}

/** Cores that no owner used; null if the CPU of an owner is unknown. */
export function toForeignCores(grown: Readings, seconds: number): number | null {
  const { machine = null } = grown;
  const own = sumOfOwners(grown, OWNERS);
  return machine === null || own === null ? null : Math.max(0, machine - own) / seconds;
}

/** The CPU of an operation, of these owners together, in µs; null if one of them is unknown. */
export function totalMicros({ each }: Summary, owners: readonly Owner[] = OWNERS): number | null {
  return sumOfOwners(each, owners);
}

function sumOfOwners(readings: Readings, owners: readonly Owner[]): number | null {
  const values = owners.filter((owner) => owner in readings).map((owner) => readings[owner] ?? null);
  return values.includes(null) ? null : sumOf(values as number[]);
}

/** Null if a value is unknown, or there is none. */
export function medianOrNull(values: readonly (number | null)[]): number | null {
  return values.length === 0 || values.includes(null) ? null : medianOf(values as number[]);
}

/*
 * A ladder of offered rates has a window for each rate. It ends at the first rate that the contender cannot keep up with.
 */

export interface Step extends Summary {
  ratePerSecond: number;
  /** Why the contender did not keep up; null if it did. */
  failure: string | null;
}

/** A contender that keeps up does at least this share of the offered operations. */
const KEPT_SHARE = 0.97;
/** A contender keeps up only if the wait in the last third is at most GROWTH × that in the first, plus GROWTH_MS. */
const GROWTH = 1.5;
const GROWTH_MS = 50;

/** Offers the rates in their order. The last step is the first failure, if there is one. */
export async function climb<Plan extends LoadPlan>(
  contender: Contender<Plan>,
  { rates, plan, tell }: { rates: readonly number[]; plan: Plan; tell: Tell },
): Promise<Step[]> {
  const steps: Step[] = [];
  for (const [i, ratePerSecond] of rates.entries()) {
    tell(`${whole(ratePerSecond)} a second are offered`, i / rates.length);
    const window = await measureWindow(contender, { ...plan, ratePerSecond });
    const failure = failureOf(ratePerSecond, window);
    steps.push({ ...summarize(contender.name, [window]), ratePerSecond, failure });
    if (failure !== null) break;
  }
  return steps;
}

function failureOf(offered: number, { work, seconds, thirdsMs: [first, last] = [0, 0] }: Window): string | null {
  const share = work / seconds / offered;
  if (share < KEPT_SHARE) return `${(share * 100).toFixed(0)} % of it done`;
  if (last > GROWTH * first + GROWTH_MS) return `the wait grew from ${first.toFixed(0)} to ${last.toFixed(0)} ms`;
  return null;
}

/** The highest rate that the contender kept up with; 0 if there is none. */
export function sustained(steps: readonly Step[]): number {
  return Math.max(0, ...steps.filter(({ failure }) => failure === null).map(({ ratePerSecond }) => ratePerSecond));
}
