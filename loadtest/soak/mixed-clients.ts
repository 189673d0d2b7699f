import { io, type Socket } from "socket.io-client";
import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { serveCommands } from "../harness/worker.ts";
import { INSTRUCTOR_ID, toCourseId, toFileId, toUserId, watchedBy } from "../load/catalogue.ts";
import { openRawSocket, type RawSocket } from "../load/raw-socket.ts";

/*
 * All that goes on beside steady heartbeats: dashboards that watch and come back, players that come, reset and go,
 * reads over HTTP, streams that begin and end.
 */

export interface MixedLoad {
  url: string;
  secret: string;
  rtmpSecret: string;
  shape: { courses: number; files: number };
  /** Steady players, whose progress is read. */
  players: number;
}

export interface MixedCounts {
  done: Record<string, number>;
  failed: Record<string, number>;
}

const DASHBOARDS = 12;
const COMERS = 500;
/** Users that nobody else is. */
const FIRST_COMER = 3_000_000;
/** A user may have ten. */
const STREAM_OWNERS = 4;
const STREAMS_EACH = 10;
const EVERY = { comerMs: 100, readMs: 50, learnersMs: 500, dashboardMs: 5000, streamMs: 100 };
const RESET_SHARE = 0.2;
const WRONG_KEY_SHARE = 0.1;
const CALL_TIMEOUT_MS = 20_000;

const counts: MixedCounts = { done: {}, failed: {} };
let timers: NodeJS.Timeout[] = [];
let isOver = false;

async function start(load: MixedLoad): Promise<void> {
  const tokens = createBuiltinTokens({ secret: load.secret, ttlSeconds: 7200 });
  const mint = async (userId: string, role: "learner" | "instructor" = "learner") =>
    (await tokens.mint({ userId, role })).token;
  const instructor = await mint(INSTRUCTOR_ID, "instructor");
  const readers = await Promise.all(Array.from({ length: 50 }, (_, i) => mint(toUserId(i % load.players))));
  await watchCourses(load, instructor);
  const owners = await Promise.all(
    Array.from({ length: STREAM_OWNERS }, (_, i) => mint(`${INSTRUCTOR_ID}-${i}`, "instructor")),
  );
  const publish = await openMediaServer(load, owners);
  let comer = 0;
  every("a player that comes and goes", EVERY.comerMs, async () => {
    const user = FIRST_COMER + (comer++ % COMERS);
    await comeAndGo(load, user, await mint(toUserId(user)));
  });
  let read = 0;
  every("a read of progress", EVERY.readMs, async () => {
    const user = read++ % readers.length;
    const course = toCourseId(watchedBy(user, load.shape).course);
    await get(`${load.url}/v1/progress/courses/${course}`, readers[user] as string);
  });
  every("a page of learners", EVERY.learnersMs, () =>
    get(`${load.url}/v1/courses/${toCourseId(read % load.shape.courses)}/learners`, instructor),
  );
  every("a stream that begins and ends", EVERY.streamMs, publish);
}

/** At even times, whether the last one is done or not. */
function every(what: string, ms: number, run: () => Promise<void>): void {
  timers.push(setInterval(() => void count(what, run), ms)); // never rejects
}

async function count(what: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
    counts.done[what] = (counts.done[what] ?? 0) + 1;
  } catch (error) {
    if (isOver) return;
    const message = error instanceof Error ? error.message : String(error);
    // Ids apart, the same failure is counted once.
    const reason = `${what}: ${message.replace(/loadtest-[\w-]+/g, "…")}`.slice(0, 200);
    counts.failed[reason] = (counts.failed[reason] ?? 0) + 1;
  }
}

/** Instructors' pages; one after the other is closed and opened again. */
async function watchCourses({ url, shape }: MixedLoad, token: string): Promise<void> {
  const watch = async (course: number): Promise<RawSocket> => {
    const caller = await openCaller(url, "/dashboard", token, () => {
      counts.done["a frame to a dashboard"] = (counts.done["a frame to a dashboard"] ?? 0) + 1;
    });
    await caller.call("subscribe", { topic: `course:${toCourseId(course)}` });
    return caller.socket;
  };
  const open: RawSocket[] = [];
  for (let i = 0; i < DASHBOARDS; i++) open.push(await watch(i % shape.courses));
  let next = 0;
  every("a dashboard that is opened again", EVERY.dashboardMs, async () => {
    const place = next++ % open.length;
    open[place]?.close();
    open[place] = await watch(next % shape.courses);
  });
}

async function comeAndGo({ url, shape }: MixedLoad, user: number, token: string): Promise<void> {
  const { course, file } = watchedBy(user, shape);
  const fileId = toFileId(course, file);
  const { call, socket } = await openCaller(url, "/player", token);
  try {
    const position = Math.random() * 3600;
    await call("heartbeat", { fileId, position, played: [[position, position + 1]] });
    if (Math.random() < RESET_SHARE) await call("progress:reset", { fileId });
    await call("heartbeat", { fileId, position: position + 2, played: [[position + 1, position + 2]] });
  } finally {
    socket.close();
  }
}

interface Caller {
  socket: RawSocket;
  /** @throws Error with what it was refused with */
  call(event: string, payload: object): Promise<void>;
}

async function openCaller(url: string, namespace: string, token: string, onEvent = () => {}): Promise<Caller> {
  const waiting = new Map<number, (json: string) => void>();
  let calls = 0;
  const socket = await openRawSocket({
    url,
    namespace,
    token,
    onEvent,
    onAck: (id, json) => waiting.get(id)?.(json),
    onClose: () => undefined,
  });
  return {
    socket,
    async call(event, payload) {
      const id = calls++;
      const json = await new Promise<string>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error("no ack in time")), CALL_TIMEOUT_MS);
        waiting.set(id, (text) => {
          clearTimeout(timer);
          resolve(text);
        });
        socket.call(id, event, JSON.stringify(payload));
      });
      waiting.delete(id);
      if (!json.startsWith('[{"ok":true')) throw new Error(`${event} was refused: ${json}`);
    },
  };
}

/** Gives the way to let the next stream begin, be reported, and end. */
async function openMediaServer({ url, rtmpSecret }: MixedLoad, owners: string[]): Promise<() => Promise<void>> {
  const keys: string[] = [];
  for (let i = 0; i < STREAM_OWNERS * STREAMS_EACH; i++) {
    const token = owners[i % owners.length];
    const response = await fetch(`${url}/v1/streams`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ title: `Stream ${i}` }),
    });
    if (!response.ok) throw new Error(`a stream was refused: ${response.status} ${await response.text()}`);
    keys.push(((await response.json()) as { streamKey: string }).streamKey);
  }
  const socket: Socket = io(`${url}/rtmp`, {
    transports: ["websocket"],
    auth: { secret: rtmpSecret, server: "soak", boot: "1" },
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  let runs = 0;
  return async () => {
    const run = runs++;
    const call = async (event: string, payload: object) => {
      const answer = (await socket.timeout(CALL_TIMEOUT_MS).emitWithAck(event, payload)) as {
        ok: boolean;
        valid?: boolean;
        reason?: string;
        sessionId?: string;
      };
      if (!answer.ok) throw new Error(`${event} was refused: ${JSON.stringify(answer)}`);
      return answer;
    };
    if (Math.random() < WRONG_KEY_SHARE) {
      const { valid } = await call("stream:validate", { streamKey: `phk_wrong_${run}`, connectionId: `c${run}` });
      if (valid) throw new Error("a wrong key was let in");
      return;
    }
    const { valid, reason, sessionId } = await call("stream:validate", {
      streamKey: keys[run % keys.length],
      connectionId: `c${run}`,
    });
    if (!valid) throw new Error(`a key was refused: ${reason}`);
    await call("stream:started", { sessionId });
    await call("stream:stats", { sessionId, bitrateKbps: 4000, viewers: run % 100 });
    await call("stream:ended", { sessionId });
  };
}

async function get(url: string, token: string): Promise<void> {
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`${new URL(url).pathname} was answered ${response.status}`);
}

function stop(): MixedCounts {
  isOver = true;
  for (const timer of timers) clearInterval(timer);
  timers = [];
  return counts;
}

serveCommands({ start, stop });
