import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { Latencies } from "../harness/latency.ts";
import { serveCommands } from "../harness/worker.ts";
import { INSTRUCTOR_ID, toCourseId, toFileId } from "./catalogue.ts";
import { openRawSocket, type RawSocket } from "./raw-socket.ts";

/*
 * An instructor's dashboard and a few learners of the course it watches, in one process and so on one clock: how
 * long after a heartbeat is due does the dashboard show its position, or a later one.
 */

export interface ConnectProbe {
  url: string;
  secret: string;
  /** Watched with all others of the load in it. */
  course: number;
  probes: number;
}

interface Learner {
  userId: string;
  fileId: string;
  socket: RawSocket;
  seq: number;
  waiting: { position: number; dueAt: number }[];
}

const EVERY_MS = 500;
const STEP_SECONDS = 0.5;
const LAST_FRAMES_MS = 5000;

const learners = new Map<string, Learner>();
let latencies = new Latencies();
let frames = 0;
let [measureFrom, measureUntil] = [0, 0];

async function connect({ url, secret, course, probes }: ConnectProbe): Promise<void> {
  const tokens = createBuiltinTokens({ secret, ttlSeconds: 3600 });
  for (let i = 0; i < probes; i++) {
    const userId = `loadtest-probe-${i}`;
    const { token } = await tokens.mint({ userId, role: "learner" });
    const socket = await openRawSocket({
      url,
      namespace: "/player",
      token,
      onAck: (_id, json) => {
        if (!json.startsWith('[{"ok":true')) console.error(`a probe was refused: ${json}`);
      },
      onClose: () => undefined,
    });
    learners.set(userId, { userId, fileId: toFileId(course, 0), socket, seq: 0, waiting: [] });
  }
  const { token } = await tokens.mint({ userId: INSTRUCTOR_ID, role: "instructor" });
  let subscribed: (json: string) => void = () => undefined;
  const answer = new Promise<string>((resolve) => {
    subscribed = resolve;
  });
  const dashboard = await openRawSocket({
    url,
    namespace: "/dashboard",
    token,
    onAck: (_id, json) => subscribed(json),
    onEvent: (json) => onFrame(json, performance.now()),
    onClose: () => undefined,
  });
  dashboard.call(0, "subscribe", JSON.stringify({ topic: `course:${toCourseId(course)}` }));
  const json = await answer;
  if (!json.startsWith('[{"ok":true')) throw new Error(`the dashboard may not subscribe: ${json}`);
}

function onFrame(json: string, now: number): void {
  const [event, update] = JSON.parse(json) as [string, { progress?: { userId: string; position: number }[] }];
  if (event !== "update") return;
  frames += 1;
  for (const { userId, position } of update.progress ?? []) {
    const waiting = learners.get(userId)?.waiting;
    while (waiting?.[0] !== undefined && waiting[0].position <= position + 0.001) {
      const { dueAt } = waiting.shift() as { dueAt: number };
      if (dueAt >= measureFrom && dueAt < measureUntil) latencies.add(now - dueAt);
    }
  }
}

async function measure({ warmupSeconds, seconds }: { warmupSeconds: number; seconds: number }) {
  latencies = new Latencies();
  frames = 0;
  const startAt = performance.now();
  measureFrom = startAt + warmupSeconds * 1000;
  measureUntil = measureFrom + seconds * 1000;
  const all = [...learners.values()];
  const stepMs = EVERY_MS / all.length;
  for (let i = 0; startAt + i * stepMs < measureUntil; i++) {
    const dueAt = startAt + i * stepMs;
    await pause(dueAt - performance.now());
    beat(all[i % all.length] as Learner, dueAt);
  }
  const giveUpAt = performance.now() + LAST_FRAMES_MS;
  while (unseen() > 0 && performance.now() < giveUpAt) await pause(20);
  return { latencies: latencies.encode(), unseen: unseen(), frames };
}

function beat(learner: Learner, dueAt: number): void {
  const seq = learner.seq++;
  const position = (seq + 1) * STEP_SECONDS;
  learner.waiting.push({ position, dueAt });
  const beat = {
    fileId: learner.fileId,
    position,
    played: [[seq * STEP_SECONDS, position]],
    state: "playing",
    sessionId: learner.userId,
    seq,
  };
  learner.socket.call(seq, "heartbeat", JSON.stringify(beat));
}

function unseen(): number {
  return [...learners.values()].reduce((count, { waiting }) => count + waiting.length, 0);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

serveCommands({ connect, measure });
