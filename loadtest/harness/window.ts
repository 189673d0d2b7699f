import { setTimeout as pause } from "node:timers/promises";
import { type LoadPlan, type LoadResult, OK } from "./load.ts";
import type { Tell } from "./section.ts";
import { type Counts, type LatencySummary, medianOf, mergeCounts, summarizeLatencies, sumOf } from "./statistics.ts";
import { whole } from "./table.ts";

/*
 * A contender is measured in windows: its load runs, and its counters are read after the warm-up and at the end. All
 * contenders are measured in turn, one window each a round, so that what the machine does meanwhile meets all alike.
 */

/** Whose CPU is told, in core-seconds. `machine` is the CPU of all processes together. */
const OWNERS = ["server", "PostgreSQL", "Redis", "generator"] as const;
type Owner = (typeof OWNERS)[number];

/** Counters that only grow, by name; null where one is not known. The CPU of owners and of the machine is among them. */
export type Readings = Record<string, number | null>;

/** Something that is measured. `Plan` tells its load what to do. */
export interface Contender<Plan extends LoadPlan = LoadPlan> {
  name: string;
  /** Before a window, unmeasured. */
  prepare?(): Promise<unknown>;
  read(): Promise<Readings>;
  load(plan: Plan): Promise<LoadResult>;
  /** After a window: what it left to be done, added to what it showed. */
  settle?(window: Window): Promise<Window>;
}

/** What one window of a contender showed. */
export interface Window extends LoadResult {
  /** By how much each counter grew, the generator's CPU included. */
  grown: Readings;
  /** Cores that no owner used. */
  foreignCores: number | null;
}

/** All windows of a contender. */
export interface Summary {
  name: string;
  perSecond: number;
  perRound: number[];
  /** Done within the window a second, whenever it was due; the median. */
  workPerSecond: number;
  /** Of all windows together; null where nobody waits for an answer. */
  latency: LatencySummary | null;
  /** What an operation took, medians of the windows: an owner's CPU in µs, any other counter as it is. */
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
  /** More rounds before these, which are not counted. */
  warmupRounds?: number;
  planOf(round: number, name: string): Plan;
  tell: Tell;
}

/** Measures rounds of one window each, in turn. Resolves in the order of the contenders. */
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

/** By how much counters grew while something was done, and how long that took. */
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
    // A sum over workers shrinks where one of them did not answer.
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

/** Cores that no owner used; null where the CPU of one of them is not known. */
export function toForeignCores(grown: Readings, seconds: number): number | null {
  const { machine = null } = grown;
  const own = sumOfOwners(grown, OWNERS);
  return machine === null || own === null ? null : Math.max(0, machine - own) / seconds;
}

/** µs of CPU that an operation took all owners together; null where one of them is not known. */
export function totalMicros({ each }: Summary, owners: readonly Owner[] = OWNERS): number | null {
  return sumOfOwners(each, owners);
}

function sumOfOwners(readings: Readings, owners: readonly Owner[]): number | null {
  const values = owners.filter((owner) => owner in readings).map((owner) => readings[owner] ?? null);
  return values.includes(null) ? null : sumOf(values as number[]);
}

/** Null where one of them is not known, or there is none. */
export function medianOrNull(values: readonly (number | null)[]): number | null {
  return values.length === 0 || values.includes(null) ? null : medianOf(values as number[]);
}

/*
 * A ladder of offered rates: one window each, faster and faster until the contender no longer keeps up.
 */

export interface Step extends Summary {
  ratePerSecond: number;
  /** Null where it keeps up, else how it does not. */
  failure: string | null;
}

/** A contender that does less than this share of what is offered does not keep up. */
const KEPT_SHARE = 0.97;
/** Waits grow without bound where those of the last third of the window are so much longer than those of the first. */
const GROWTH = 1.5;
const GROWTH_MS = 50;

/** Climbs the rates in their order. The last step is the first that is too much. */
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

/** The most that was offered and kept up with; 0 where nothing was. */
export function sustained(steps: readonly Step[]): number {
  return Math.max(0, ...steps.filter(({ failure }) => failure === null).map(({ ratePerSecond }) => ratePerSecond));
}
