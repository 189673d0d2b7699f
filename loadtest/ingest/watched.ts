import { type LatencySummary, summarize } from "../harness/latency.ts";
import { startWorker, type Worker } from "../harness/worker.ts";
import { loadPlayers } from "../load/player-processes.ts";
import type { PlayheadServer } from "../load/playhead-server.ts";
import type { Window } from "./contender.ts";

/** An even load while an instructor's dashboard watches one of its courses. */
export interface Watched {
  ratePerSecond: number;
  frameIntervalMs: number;
  workers: number;
  achievedPerSecond: number;
  /** Both from when a heartbeat was due. */
  ack: LatencySummary;
  dashboard: LatencySummary;
  /** Frames that the dashboard got. */
  frames: number;
  /** Heartbeats that it never showed. */
  unseen: number;
  refused: Record<string, number>;
}

/** Learners of the dashboard's course whose heartbeats are followed to it. */
const PROBES = 20;

export async function measureWatched(
  { server, players }: { server: PlayheadServer; players: Worker[] },
  plan: Window & Pick<Watched, "ratePerSecond" | "frameIntervalMs" | "workers">,
): Promise<Watched> {
  const { ratePerSecond, frameIntervalMs, workers, warmupSeconds, seconds } = plan;
  const probe = startWorker(new URL("../load/dashboard-probe.ts", import.meta.url));
  await probe.call("connect", { url: server.url, secret: server.secret, course: 0, probes: PROBES });
  const window = { warmupSeconds, seconds };
  const [load, seen] = await Promise.all([
    loadPlayers(players, { ...window, ratePerSecond }),
    probe.call<{ latencies: string; unseen: number; frames: number }>("measure", window),
  ]);
  await probe.stop();
  return {
    ratePerSecond,
    frameIntervalMs,
    workers,
    achievedPerSecond: load.achievedPerSecond,
    ack: load.latency,
    dashboard: summarize([seen.latencies]),
    frames: seen.frames,
    unseen: seen.unseen,
    refused: load.refused,
  };
}
