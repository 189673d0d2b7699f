import { setTimeout as pause } from "node:timers/promises";
import { serveCommands } from "../harness/worker.ts";
import { type DialectName, dialectOf } from "./dialects.ts";
import { type Content, openPublisher, type Publisher, type PublisherOptions } from "./publishers.ts";
import { counted, Receiver } from "./receiver.ts";
import { Rounds } from "./rounds.ts";

/*
 * The process of one server's dashboards, and of whoever begins the rounds: both on one clock.
 */

export interface Grow {
  dialect: DialectName;
  port: number;
  token: string;
  /** So many receivers there are then. */
  receivers: number;
}

export interface Subscribe {
  /** Receiver by receiver, round and round. */
  topics: string[];
  receivers: number;
  publisher: PublisherOptions;
  update: string;
}

export interface Window {
  warmupSeconds: number;
  seconds: number;
  /** Open loop: rounds are due at even intervals. Without it two are under way at the most, as fast as it goes. */
  roundsPerSecond?: number;
}

export interface WindowResult {
  deliveries: number;
  bytes: number;
  rounds: number;
  seconds: number;
  /** Of this process, in core-seconds. */
  cpuSeconds: number;
  latencies: string;
  /** Rounds that some probe never saw. */
  unseen: number;
  /** Receivers that were closed so far. */
  closed: number;
}

const CONNECTING_AT_ONCE = 100;
/** Of the receivers of one topic so many look which round they see. */
const PROBES = 100;
/** A round that does not come is not waited for any longer. */
const ROUND_TIMEOUT_MS = 2000;
const LAST_FRAMES_MS = 3000;

const receivers: Receiver[] = [];
const subscriptions = new Set<string>();
let rounds = new Rounds();
let publisher: (Publisher & { close(): void }) | null = null;

async function grow({ dialect: name, port, token, receivers: count }: Grow): Promise<void> {
  const dialect = dialectOf(name, token);
  await inTurns(count - receivers.length, async () => {
    receivers.push(await Receiver.connect(port, dialect));
  });
}

async function subscribe({ topics, receivers: count, publisher: options, update }: Subscribe): Promise<void> {
  // Nobody is probed, and reads texts, while others subscribe.
  for (const receiver of receivers) receiver.probe = null;
  let next = 0;
  await inTurns(count, async () => {
    const i = next++;
    const topic = topics[i % topics.length] as string;
    const key = `${i} ${topic}`;
    if (subscriptions.has(key)) return;
    subscriptions.add(key);
    await receivers[i]?.subscribe(topic);
  });
  publisher?.close();
  publisher = await openPublisher(options, { topics, update } satisfies Content);
  const begun = rounds.begun;
  rounds = new Rounds();
  rounds.begun = begun;
  rounds.complete = begun;
  const probes = topics.length === 1 ? Math.min(PROBES, count) : Math.min(topics.length, count);
  // Evenly over the receivers of one topic; of many topics the last receiver of each.
  for (let i = 0; i < probes; i++) {
    const at = topics.length === 1 ? Math.floor(((i + 1) * count) / probes) - 1 : count - probes + i;
    (receivers[at] as Receiver).probe = rounds.addProbe();
  }
}

async function inTurns(count: number, work: () => Promise<void>): Promise<void> {
  let left = count;
  const one = async () => {
    while (left-- > 0) await work();
  };
  await Promise.all(Array.from({ length: CONNECTING_AT_ONCE }, one));
}

async function measure({ warmupSeconds, seconds, roundsPerSecond }: Window): Promise<WindowResult> {
  const from = performance.now() + warmupSeconds * 1000;
  const until = from + seconds * 1000;
  const running = roundsPerSecond === undefined ? runClosed(until) : runPaced(until, roundsPerSecond);
  await pause(from - performance.now());
  const latencies = rounds.collect();
  const before = { ...counted, begun: rounds.begun, at: performance.now(), cpu: process.cpuUsage() };
  await pause(until - performance.now());
  const now = performance.now();
  const { user, system } = process.cpuUsage(before.cpu);
  const result = {
    deliveries: counted.frames - before.frames,
    bytes: counted.bytes - before.bytes,
    rounds: rounds.begun - before.begun,
    seconds: (now - before.at) / 1000,
    cpuSeconds: (user + system) / 1e6,
  };
  await running;
  const giveUpAt = performance.now() + LAST_FRAMES_MS;
  while (rounds.complete < rounds.begun && performance.now() < giveUpAt) await rounds.changed(50);
  const unseen = rounds.begun - rounds.complete;
  rounds.complete = rounds.begun;
  return { ...result, latencies: latencies.encode(), unseen, closed: counted.closed };
}

/** The next begins when somebody has seen the last, and all the one before that. */
async function runClosed(until: number): Promise<void> {
  while (performance.now() < until) {
    publish(rounds.begin(performance.now()));
    const giveUpAt = performance.now() + ROUND_TIMEOUT_MS;
    const isUnderWay = () => rounds.first < rounds.begun || rounds.complete < rounds.begun - 1;
    while (isUnderWay() && performance.now() < giveUpAt) await rounds.changed(giveUpAt - performance.now());
  }
}

/** At even intervals, whatever comes back: a round that begins late counts from when it was due. */
async function runPaced(until: number, perSecond: number): Promise<void> {
  const startAt = performance.now();
  for (let i = 0; ; i++) {
    const dueAt = startAt + (i * 1000) / perSecond;
    if (dueAt >= until) return;
    const waitMs = dueAt - performance.now();
    if (waitMs > 0) await pause(waitMs);
    publish(rounds.begin(dueAt));
  }
}

function publish(round: number): void {
  publisher?.publish(round).catch((error: unknown) => console.error(`round ${round} could not be begun:`, error));
}

/** An update as a probe got it. */
function sample(): string {
  return receivers.find(({ lastUpdate }) => lastUpdate !== "")?.lastUpdate ?? "";
}

function close(): void {
  publisher?.close();
  for (const receiver of receivers.splice(0)) receiver.close();
}

serveCommands({ grow, subscribe, measure, sample, close });
