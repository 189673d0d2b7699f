import { setTimeout as pause } from "node:timers/promises";
import { cpuSeconds } from "./process-cpu.ts";
import { type Counts, Latencies, tally } from "./statistics.ts";

/*
 * Makes the load of one window. Closed loop: every client sends its next operation after the answer to its last one. Open
 * loop: operations are due at even intervals, whether answers come or not. Latency counts from the time when an operation
 * was due, so a stall adds to the latency of every operation that waited for its end.
 */

export interface LoadPlan {
  /** Load before the window, in seconds. */
  warmupSeconds: number;
  /** The length of the window; Infinity: until `operations` are done. */
  seconds: number;
  /** Operations a second of an open loop. Absent: a closed loop. */
  ratePerSecond?: number;
  /** The number of operations after which a closed loop ends. */
  operations?: number;
}

export interface LoadResult {
  /** Closed loop: operations done within the window. Open loop: operations due within the window and done at any time. */
  count: number;
  /** Operations done within the window, whenever they were due. The CPU of the window is divided by them. */
  work: number;
  seconds: number;
  /** CPU of the process that made the load, in core-seconds. */
  cpuSeconds: number;
  /** Encoded latencies of the operations in `count`. */
  latencies?: string;
  /** Mean latency of the operations that were due in the first and in the last third of the window. */
  thirdsMs?: [first: number, last: number];
  /** How many operations had each outcome, warm-up included. */
  outcomes?: Counts;
  /** The longest time that an operation of the open loop was sent after it was due. */
  lateMs?: number;
  /** Other counts of the process within the window, such as bytes. */
  counters?: Counts;
  /** The result of a second load in the same process at the same time. */
  beside?: LoadResult;
}

/** Takes the outcome of an operation: `OK`, or a word for what went wrong. */
export type Answered = (outcome: string) => void;

/** The outcome of an operation that succeeded. */
export const OK = "ok";
const NO_ANSWER = "no answer";
/** How many connections are opened at the same time. More would wait in the server's queue. */
export const AT_ONCE = 100;
/** After the window: how long to wait for one more answer. */
const QUIET_MS = 8000;

/** `send` sends the next operation of a client. `isDone` decides which outcomes count as done. */
export async function runLoad(
  plan: LoadPlan,
  clients: number,
  send: (client: number, answered: Answered, dueAt: number) => void,
  isDone: (outcome: string) => boolean = (outcome) => outcome === OK,
): Promise<LoadResult & { outcomes: Counts }> {
  const { warmupSeconds, seconds, ratePerSecond, operations = Number.POSITIVE_INFINITY } = plan;
  const isClosedLoop = ratePerSecond === undefined;
  const latencies = new Latencies();
  const outcomes: Counts = {};
  const startAt = performance.now();
  const from = startAt + warmupSeconds * 1000;
  const until = from + seconds * 1000;
  /** Sums and counts of waits, by the third of the window in which the operation was due. */
  const [waitedMs, waits]: [number[], number[]] = [[], []];
  let [sent, waiting, count, work, lastAt, isGivenUp] = [0, 0, 0, 0, startAt, false];

  function begin(client: number, dueAt: number): void {
    sent += 1;
    waiting += 1;
    const answered = (outcome: string) => {
      if (isGivenUp) return;
      const now = performance.now();
      waiting -= 1;
      lastAt = now;
      tally(outcomes, outcome);
      if (isDone(outcome)) {
        const isNow = now >= from && now < until;
        if (isNow) work += 1;
        if (isClosedLoop ? isNow : dueAt >= from && dueAt < until) {
          count += 1;
          latencies.add(now - dueAt);
          const third = Math.max(0, Math.floor(((dueAt - from) / (until - from)) * 3));
          waitedMs[third] = (waitedMs[third] ?? 0) + now - dueAt;
          waits[third] = (waits[third] ?? 0) + 1;
        }
      }
      if (isClosedLoop && now < until && sent < operations) begin(client, now);
    };
    send(client, answered, dueAt);
  }

  const cpu = watchCpu(from, until);
  let lateMs = 0;
  if (ratePerSecond !== undefined) {
    lateMs = await sendOnTime(ratePerSecond, until, (dueAt) => begin(sent % clients, dueAt));
  } else {
    for (let client = 0; client < clients && sent < operations; client++) begin(client, performance.now());
    if (Number.isFinite(until)) await pauseUntil(until);
  }
  while (waiting > 0 && performance.now() - lastAt < QUIET_MS) await pause(5);
  isGivenUp = true;
  const meanOf = (third: number) => (waitedMs[third] ?? 0) / (waits[third] || 1);
  if (waiting > 0) outcomes[NO_ANSWER] = waiting;
  return {
    count,
    work,
    seconds: Number.isFinite(seconds) ? seconds : (lastAt - from) / 1000,
    latencies: latencies.encode(),
    thirdsMs: [meanOf(0), meanOf(2)],
    outcomes,
    cpuSeconds: await cpu(),
    lateMs,
  };
}

/** The load of one client that writes batches one after another. The time and the CPU to make a batch do not count. */
export async function runBatches<Row>(
  { warmupSeconds, seconds }: LoadPlan,
  next: () => Row[],
  write: (rows: Row[]) => Promise<void>,
): Promise<LoadResult> {
  const writeFor = async (span: number) => {
    const until = performance.now() + span * 1000;
    const sum = { rows: 0, ms: 0, cpuSeconds: 0 };
    while (performance.now() < until) {
      const rows = next();
      if (rows.length === 0) break;
      const [cpuBefore, startedAt] = [cpuSeconds(), performance.now()];
      await write(rows);
      sum.ms += performance.now() - startedAt;
      sum.cpuSeconds += cpuSeconds() - cpuBefore;
      sum.rows += rows.length;
    }
    return sum;
  };
  await writeFor(warmupSeconds);
  const { rows, ms, cpuSeconds: spent } = await writeFor(seconds);
  return { count: rows, work: rows, seconds: ms / 1000, cpuSeconds: spent };
}

/** Does the work `count` times, AT_ONCE of them at the same time. */
export async function doAtOnce(count: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const doSome = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, doSome));
}

/** @returns the longest time that an operation was sent after it was due, in ms */
async function sendOnTime(ratePerSecond: number, until: number, send: (dueAt: number) => void): Promise<number> {
  const startAt = performance.now();
  let [sent, lateMs] = [0, 0];
  for (;;) {
    const now = performance.now();
    for (;;) {
      const dueAt = startAt + (sent * 1000) / ratePerSecond;
      if (dueAt >= until) return lateMs;
      if (dueAt > now) break;
      lateMs = Math.max(lateMs, now - dueAt);
      sent += 1;
      send(dueAt);
    }
    await pause(1);
  }
}

/** CPU of this process between two times, in core-seconds; `until` Infinity: up to the call of the result. */
function watchCpu(from: number, until: number): () => Promise<number> {
  const before = pauseUntil(from).then(cpuSeconds);
  const after = Number.isFinite(until) ? pauseUntil(until).then(cpuSeconds) : null;
  return async () => (await (after ?? cpuSeconds())) - (await before);
}

async function pauseUntil(time: number): Promise<void> {
  const ms = time - performance.now();
  if (ms > 0) await pause(ms);
}
