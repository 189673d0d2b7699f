import { fileURLToPath } from "node:url";
import { startWorker } from "../harness/worker.ts";
import { toCourseId, toFileId, toLessonId, toUserId } from "../load/catalogue.ts";
import { watchCounters } from "../load/cost-window.ts";
import { closePlayers, loadPlayers } from "../load/player-processes.ts";
import { startPlayhead } from "../load/playhead-server.ts";
import { type Contender, measureInTurn, type Standing, type Window } from "./contender.ts";
import { openPlayers } from "./contenders.ts";
import { putCourses } from "./database.ts";
import type { IngestOptions } from "./options.ts";

/*
 * What a heartbeat costs the server's process without a database: the real server, whose writer answers at once and
 * writes nothing, beside a bare uWebSockets.js. Both at the same rate, since both cost less a heartbeat the more of
 * them come at once.
 */

const STUB_WRITER = fileURLToPath(new URL("../load/stub-writer.js", import.meta.url));

/** 10,000 a second of 4,000 players. */
const RATE_OF_A_PLAYER = 2.5;
const WINDOW: Window = { warmupSeconds: 1.5, seconds: 3 };
/** By closed loop, which waits for what is still cold: code that is not compiled, caches that are empty. */
const FIRST_WARMUP_SECONDS = 3;

export interface SocketWork {
  ratePerSecond: number;
  playhead: Standing;
  bare: Standing;
}

export async function measureSocketWork(
  options: IngestOptions,
  tell: (what: string, share: number) => void,
): Promise<SocketWork> {
  tell("starting a server without a writer, and a bare echo", 0);
  const server = await startPlayhead({ nodeFlags: [...options.nodeFlags, "--import", STUB_WRITER] });
  await putCourses(server, options.shape);
  const echo = startWorker(new URL("../peers/echo/echo-server.ts", import.meta.url));
  const { port } = await echo.call<{ port: number }>("start", { namespace: "/player", ack: ackOfPlayhead() });
  const players = await openPlayers(server, options);
  const barePlayers = await openPlayers({ url: `http://127.0.0.1:${port}`, secret: server.secret }, options);
  for (const workers of [players, barePlayers]) {
    tell("warming up", 0);
    await loadPlayers(workers, { warmupSeconds: 0, seconds: FIRST_WARMUP_SECONDS });
  }
  const serverCpu = async () => (await server.readMetrics()).get("playhead_process_cpu_seconds_total") ?? null;
  const ratePerSecond = options.connections * RATE_OF_A_PLAYER;

  const contender = (
    name: string,
    { workers, cpuSeconds }: { workers: typeof players; cpuSeconds: () => Promise<number | null> },
  ): Contender => ({
    name,
    async measure(window) {
      const [load, cpu] = await Promise.all([
        loadPlayers(workers, { ...window, ratePerSecond }),
        watchCounters({ server: cpuSeconds }, window),
      ]);
      const { latencies, refused } = load;
      const { seconds } = window;
      // Acked within the window, as the CPU is of the window.
      const heartbeats = Math.round(load.achievedPerSecond * seconds);
      return { heartbeats, seconds, latencies, refused, cpu: { ...cpu, generator: load.cpuSeconds } };
    },
  });
  const [playhead, bare] = await measureInTurn(
    [
      contender("Playhead, no database", { workers: players, cpuSeconds: serverCpu }),
      contender("(d) bare uWebSockets.js", {
        workers: barePlayers,
        cpuSeconds: () => echo.call<number>("cpuSeconds"),
      }),
    ],
    { rounds: options.rounds, windowOf: () => WINDOW, tell },
  );
  await closePlayers([...players, ...barePlayers, echo]);
  await server.stop();
  return { ratePerSecond, playhead: playhead as Standing, bare: bare as Standing };
}

/** As long as Playhead's is in the middle of a run. */
function ackOfPlayhead(): string {
  const seconds = 12.3;
  const progress = {
    userId: toUserId(0),
    fileId: toFileId(0, 0),
    lessonId: toLessonId(0, 0),
    courseId: toCourseId(0),
    position: seconds,
    resumeAt: seconds - 2,
    duration: 360_000,
    watched: [[0, seconds]],
    watchedSeconds: seconds,
    watchTimeSeconds: seconds,
    percentage: 0,
    completed: false,
    lastWatched: new Date(0).toISOString(),
    epoch: 0,
    version: 123_456,
  };
  return `[${JSON.stringify({ ok: true, progress, nextBeatMs: 10_000 })}]`;
}
