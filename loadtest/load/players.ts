import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { Latencies } from "../harness/latency.ts";
import { serveCommands } from "../harness/worker.ts";
import { toFileId, toUserId, watchedBy } from "./catalogue.ts";
import { Player } from "./player.ts";

/*
 * A process of many players. Each is a user of its own who watches one file.
 */

export interface ConnectPlayers {
  url: string;
  secret: string;
  firstUser: number;
  count: number;
  shape: { courses: number; files: number };
}

export interface LoadWindow {
  /** Load before the measured window, in seconds. */
  warmupSeconds: number;
  seconds: number;
  /** Open loop: beats a second of this process. Without it every player sends its next beat at the last one's ack. */
  ratePerSecond?: number;
}

export interface LoadResult {
  /** Closed loop: acked within the measured window. Open loop: due within it and acked, however late. */
  acked: number;
  /** Acked within the measured window, whenever they were due. */
  ackedInWindow: number;
  refused: Record<string, number>;
  /** Of what `acked` counts. */
  latencies: string;
  /** The same for what was due in the first and in the last third of the window: whether they grow. */
  firstThird: string;
  lastThird: string;
  /** Of this process in the measured window, in core-seconds. */
  cpuSeconds: number;
  /** The latest that a beat of the open loop was sent after its time, in ms. */
  lateMs: number;
}

type Answer = (player: Player, dueAt: number, refusal: string | null) => void;

const CONNECTING_AT_ONCE = 100;
const LAST_ACKS_MS = 15_000;

const players: Player[] = [];
let closed = 0;
let onAnswer: Answer = () => undefined;

async function connect({ url, secret, firstUser, count, shape }: ConnectPlayers): Promise<number> {
  const tokens = createBuiltinTokens({ secret, ttlSeconds: 3600 });
  const events = { onAnswer: (...given: Parameters<Answer>) => onAnswer(...given), onClose: () => (closed += 1) };
  let next = firstUser;
  const connectOne = async () => {
    while (next < firstUser + count) {
      const user = next++;
      const { course, file } = watchedBy(user, shape);
      const { token } = await tokens.mint({ userId: toUserId(user), role: "learner" });
      players.push(await Player.connect({ url, token, fileId: toFileId(course, file), ...events }));
    }
  };
  await Promise.all(Array.from({ length: CONNECTING_AT_ONCE }, connectOne));
  return players.length;
}

async function load({ warmupSeconds, seconds, ratePerSecond }: LoadWindow): Promise<LoadResult> {
  const closedBefore = closed;
  const isClosedLoop = ratePerSecond === undefined;
  const [latencies, firstThird, lastThird] = [new Latencies(), new Latencies(), new Latencies()];
  const refused: Record<string, number> = {};
  const startAt = performance.now();
  const from = startAt + warmupSeconds * 1000;
  const until = from + seconds * 1000;
  const [firstUntil, lastFrom] = [from + (until - from) / 3, until - (until - from) / 3];
  let [acked, ackedInWindow, lateMs, waiting] = [0, 0, 0, 0];
  onAnswer = (player, dueAt, refusal) => {
    // Of an earlier window, which has given it up.
    if (dueAt < startAt) return;
    const now = performance.now();
    const isNow = now >= from && now < until;
    waiting -= 1;
    if (refusal !== null) refused[refusal] = (refused[refusal] ?? 0) + 1;
    else {
      if (isNow) ackedInWindow += 1;
      if (isClosedLoop ? isNow : dueAt >= from && dueAt < until) {
        acked += 1;
        latencies.add(now - dueAt);
        if (dueAt < firstUntil) firstThird.add(now - dueAt);
        else if (dueAt >= lastFrom) lastThird.add(now - dueAt);
      }
    }
    if (isClosedLoop && now < until) send(player, now);
  };
  function send(player: Player, dueAt: number): void {
    waiting += 1;
    player.beat(dueAt);
  }
  const cpu = watchCpu(from, until);
  if (ratePerSecond === undefined) {
    for (const player of players) send(player, performance.now());
    await pause(until - performance.now());
  } else {
    lateMs = await sendOnTime({
      ratePerSecond,
      until,
      send: (i, at) => send(players[i % players.length] as Player, at),
    });
  }
  const giveUpAt = performance.now() + LAST_ACKS_MS;
  while (waiting > 0 && performance.now() < giveUpAt) await pause(20);
  if (waiting > 0) refused["no ack"] = waiting;
  if (closed > closedBefore) refused["socket closed"] = closed - closedBefore;
  return {
    acked,
    ackedInWindow,
    refused,
    latencies: latencies.encode(),
    firstThird: firstThird.encode(),
    lastThird: lastThird.encode(),
    cpuSeconds: await cpu,
    lateMs,
  };
}

/** Sends at even intervals whatever the acks do: a beat that could not be sent in time counts from when it was due. */
async function sendOnTime(plan: {
  ratePerSecond: number;
  until: number;
  send: (i: number, at: number) => void;
}): Promise<number> {
  const startAt = performance.now();
  const intervalMs = 1000 / plan.ratePerSecond;
  let lateMs = 0;
  for (let i = 0; ; ) {
    const now = performance.now();
    for (let dueAt = startAt + i * intervalMs; dueAt <= now; dueAt = startAt + i * intervalMs) {
      if (dueAt >= plan.until) return lateMs;
      lateMs = Math.max(lateMs, now - dueAt);
      plan.send(i++, dueAt);
    }
    await pause(1);
  }
}

async function watchCpu(from: number, until: number): Promise<number> {
  await pause(from - performance.now());
  const before = process.cpuUsage();
  await pause(until - performance.now());
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

async function close(): Promise<void> {
  for (const player of players.splice(0)) player.close();
}

serveCommands({ connect, load, close });
