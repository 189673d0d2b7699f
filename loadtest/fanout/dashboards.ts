import { setTimeout as pause } from "node:timers/promises";
import { serveCommands } from "../harness/child-process.ts";
import { type Answered, doAtOnce, type LoadPlan, type LoadResult, OK, runLoad } from "../harness/load.ts";
import { Latencies } from "../harness/statistics.ts";
import { openPublisher, type Publisher } from "./publishers.ts";
import { counted, openReceiver, type Protocol, type Receiver } from "./receivers.ts";

/*
 * The dashboards of one contender. The same process starts the updates, so both share one clock. Updates have numbers. Some
 * dashboards are probes, which read the number of each frame. A number stands for all before it, because frames conflate.
 */

/** The server, and its protocol. */
export interface ConnectDashboards {
  protocol: Protocol;
  url: string;
  /** Playhead's alone: the token of the dashboards, and the database in which updates start. */
  token?: string;
  databaseUrl?: string;
}

/** The audience from now on. */
export interface Gather {
  dashboards: number;
  /** Dashboard `i` watches topic `i % topics.length`. */
  topics: string[];
  /** JSON of an update of Playhead; empty for Playhead. */
  update: string;
}

interface Update {
  dueAt: number;
  answered: Answered;
  /** How many probes have seen it. */
  seenBy: number;
  isAnswered: boolean;
}

/** The most probes on one topic. */
const PROBES = 100;
const LAST_FRAMES_MS = 3000;

const receivers: Receiver[] = [];
const subscriptions = new Set<string>();
let server: ConnectDashboards;
let publisher: Publisher | null = null;
let probes = 0;
let begun = 0;
/** Updates that not all probes have seen, by number. */
const underWay = new Map<number, Update>();
let latencies = new Latencies();
/** The last frame that a probe got. */
let lastFrame = "";

function connect(given: ConnectDashboards): void {
  server = given;
}

async function gather({ dashboards, topics, update }: Gather): Promise<void> {
  await doAtOnce(dashboards - receivers.length, async () => receivers.push(await openReceiver(server)));
  // The answer to a subscription can be a long frame, and must be read.
  for (const { socket } of receivers) socket.isSkipping = false;
  await doAtOnce(dashboards, async (i) => {
    const topic = topics[i % topics.length] as string;
    const key = `${i} ${topic}`;
    if (subscriptions.has(key)) return;
    subscriptions.add(key);
    await receivers[i]?.subscribe(topic);
  });
  for (const { socket } of receivers) socket.isSkipping = true;
  publisher?.close();
  publisher = await openPublisher(server, { topics, update });
  probes = topics.length === 1 ? Math.min(PROBES, dashboards) : Math.min(topics.length, dashboards);
  for (let i = 0; i < probes; i++) {
    // One topic: probes spread evenly. Many topics: the last dashboard of each.
    const at = topics.length === 1 ? Math.floor(((i + 1) * dashboards) / probes) - 1 : dashboards - probes + i;
    const probe = receivers[at] as Receiver;
    probe.onFrame = toProbe();
    probe.socket.isSkipping = false;
  }
}

/** @returns a function that reads the frames of one probe */
function toProbe(): (frame: string) => void {
  let seen = begun;
  return (frame) => {
    const number = Number(/"position\\?":(\d+)/.exec(frame)?.[1]);
    if (Number.isNaN(number)) return; // a frame with sums alone
    lastFrame = frame;
    while (seen < number) {
      seen += 1;
      onSeen(seen);
    }
  };
}

function onSeen(number: number): void {
  const update = underWay.get(number);
  if (update === undefined) return;
  latencies.add(performance.now() - update.dueAt);
  update.seenBy += 1;
  if (update.seenBy === probes) underWay.delete(number);
  // The next update starts when a probe has seen this one and all probes have seen the one before.
  for (const [n, one] of [[number, update] as const, ...underWay]) {
    if (one.isAnswered || one.seenBy === 0 || underWay.has(n - 1)) continue;
    one.isAnswered = true;
    one.answered(OK);
  }
}

/** An operation is a delivery. Closed loop: at most two updates at the same time. */
async function load(plan: LoadPlan): Promise<LoadResult> {
  const [{ seconds, cpuSeconds }, window] = await Promise.all([
    runLoad(plan, 1, (_, answered, dueAt) => {
      begun += 1;
      underWay.set(begun, { dueAt, answered, seenBy: 0, isAnswered: false });
      publisher?.publish(begun).catch((error: unknown) => console.error("an update could not be begun:", error));
    }),
    countWindow(plan),
  ]);
  const giveUpAt = performance.now() + LAST_FRAMES_MS;
  while (underWay.size > 0 && performance.now() < giveUpAt) await pause(20);
  const outcomes = { "updates not seen by every probe": underWay.size, "dashboards closed": counted.closed };
  underWay.clear();
  counted.closed = 0;
  return {
    count: window.frames,
    work: window.frames,
    seconds,
    cpuSeconds,
    counters: window,
    latencies: latencies.encode(),
    outcomes: Object.fromEntries(Object.entries(outcomes).filter(([, count]) => count > 0)),
  };
}

async function countWindow({ warmupSeconds, seconds }: LoadPlan) {
  await pause(warmupSeconds * 1000);
  latencies = new Latencies();
  const before = { ...counted, updates: begun };
  await pause(seconds * 1000);
  return {
    frames: counted.frames - before.frames,
    bytes: counted.bytes - before.bytes,
    updates: begun - before.updates,
  };
}

serveCommands({ connect, gather, load, sampleFrame: () => lastFrame });
