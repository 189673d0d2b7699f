import { serveCommands } from "../harness/child-process.ts";
import { type Counts, tally } from "../harness/statistics.ts";
import { createMint, INSTRUCTOR_ID, type Shape, toCourseId, toFileId, toUserId, watchedBy } from "../load/catalogue.ts";
import { fetchAs } from "../load/playhead-server.ts";
import { openSocketIo, type SocketIoClient } from "../load/socketio-client.ts";

/*
 * The load beside the steady heartbeats: dashboards that reconnect, players that come, reset and go, reads over HTTP, and
 * streams that start and end.
 */

export interface MixedLoad {
  url: string;
  secret: string;
  rtmpSecret: string;
  shape: Shape;
  /** The number of steady players, whose progress is read. */
  players: number;
}

export interface MixedCounts {
  done: Counts;
  failed: Counts;
}

const DASHBOARDS = 12;
const READERS = 50;
const COMERS = 500;
/** Other users than those of the steady players. */
const FIRST_COMER = 3_000_000;
/** Several, because a user may have only ten streams. */
const STREAM_OWNERS = 4;
const STREAMS_EACH = 10;
const EVERY = { comerMs: 100, readMs: 50, learnersMs: 500, dashboardMs: 5000, streamMs: 100 };
const RESET_SHARE = 0.2;
const WRONG_KEY_SHARE = 0.1;
/** Longer than the default lease of a session, 30 s. */
const FAILED_KEY_RESTS_MS = 60_000;

const counts: MixedCounts = { done: {}, failed: {} };
let timers: NodeJS.Timeout[] = [];
let isOver = false;

async function start(load: MixedLoad): Promise<void> {
  const { url, shape } = load;
  const mint = createMint(load.secret);
  const instructor = await mint(INSTRUCTOR_ID, "instructor");
  const readers = await Promise.all(Array.from({ length: READERS }, (_, i) => mint(toUserId(i % load.players))));
  await watchCourses(load, instructor);
  const publish = await openMediaServer(
    load,
    await Promise.all(Array.from({ length: STREAM_OWNERS }, (_, i) => mint(`${INSTRUCTOR_ID}-${i}`, "instructor"))),
  );
  let comer = 0;
  every("a player that comes and goes", EVERY.comerMs, async () => {
    const user = FIRST_COMER + (comer++ % COMERS);
    await comeAndGo(load, user, await mint(toUserId(user)));
  });
  let read = 0;
  every("a read of progress", EVERY.readMs, async () => {
    const user = read++ % readers.length;
    const course = toCourseId(watchedBy(user, shape).course);
    await fetchAs(readers[user] as string, `${url}/v1/progress/courses/${course}`);
  });
  every("a page of learners", EVERY.learnersMs, async () => {
    await fetchAs(instructor, `${url}/v1/courses/${toCourseId(read % shape.courses)}/learners`);
  });
  every("a stream that begins and ends", EVERY.streamMs, publish);
}

/** Runs it at even intervals, although the last run may not be done. */
function every(what: string, ms: number, run: () => Promise<void>): void {
  timers.push(setInterval(() => void count(what, run), ms)); // never rejects
}

async function count(what: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
    tally(counts.done, what);
  } catch (error) {
    if (isOver) return;
    const message = error instanceof Error ? error.message : String(error);
    // Without ids, equal failures count together.
    tally(counts.failed, `${what}: ${message.replace(/loadtest-[\w-]+/g, "…")}`.slice(0, 200));
  }
}

/** Opens dashboards of instructors, and reopens one of them at each interval. */
async function watchCourses({ url, shape }: MixedLoad, token: string): Promise<void> {
  const onEvent = () => tally(counts.done, "a frame to a dashboard");
  const watch = async (course: number): Promise<SocketIoClient> => {
    const client = await openSocketIo({ url, namespace: "/dashboard", auth: { token }, onEvent });
    await client.ask("subscribe", { topic: `course:${toCourseId(course)}` });
    return client;
  };
  const open: SocketIoClient[] = [];
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
  const client = await openSocketIo({ url, namespace: "/player", auth: { token } });
  try {
    const position = Math.random() * 3600;
    await client.ask("heartbeat", { fileId, position, played: [[position, position + 1]] });
    if (Math.random() < RESET_SHARE) await client.ask("progress:reset", { fileId });
    await client.ask("heartbeat", { fileId, position: position + 2, played: [[position + 1, position + 2]] });
  } finally {
    client.close();
  }
}

/**
 * Opens a media server's connection. No key is used again before the end of its stream was acked.
 * @returns a function that starts, reports and ends the next stream
 */
async function openMediaServer({ url, rtmpSecret }: MixedLoad, owners: string[]): Promise<() => Promise<void>> {
  const keys: string[] = [];
  for (let i = 0; i < STREAM_OWNERS * STREAMS_EACH; i++) {
    const body = JSON.stringify({ title: `Stream ${i}` });
    const text = await fetchAs(owners[i % owners.length] as string, `${url}/v1/streams`, { method: "POST", body });
    keys.push((JSON.parse(text) as { streamKey: string }).streamKey);
  }
  const auth = { secret: rtmpSecret, server: "soak", boot: "1" };
  const client = await openSocketIo({ url, namespace: "/rtmp", auth });
  const validate = async (streamKey: string | undefined, run: number) => {
    const json = await client.ask("stream:validate", { streamKey, connectionId: `c${run}` });
    return (JSON.parse(json) as [{ valid: boolean; reason?: string; sessionId?: string }])[0];
  };
  const free = [...keys];
  let runs = 0;
  return async () => {
    const run = runs++;
    if (Math.random() < WRONG_KEY_SHARE) {
      const { valid } = await validate(`phk_wrong_${run}`, run);
      if (valid) throw new Error("a wrong key was let in");
      return;
    }
    const key = free.shift();
    if (key === undefined) throw new Error("every key is in use: the server is too slow for this rate");
    try {
      const { valid, reason, sessionId } = await validate(key, run);
      if (!valid) throw new Error(`a key was refused: ${reason}`);
      await client.ask("stream:started", { sessionId });
      await client.ask("stream:stats", { sessionId, bitrateKbps: 4000, viewers: run % 100 });
      await client.ask("stream:ended", { sessionId });
      free.push(key);
    } catch (error) {
      // Without the ack of its end the session may live until its lease is lost.
      setTimeout(() => free.push(key), FAILED_KEY_RESTS_MS).unref();
      throw error;
    }
  };
}

function stop(): MixedCounts {
  isOver = true;
  for (const timer of timers) clearInterval(timer);
  timers = [];
  return counts;
}

serveCommands({ start, stop });
