import { type LatencySummary, summarize } from "../harness/latency.ts";
import { startWorker, type Worker } from "../harness/worker.ts";
import type { ConnectPlayers, LoadResult, LoadWindow } from "./players.ts";
import type { PlayheadServer } from "./playhead-server.ts";

/*
 * Players spread over several processes, driven as one.
 */

export interface PlayersLoad {
  perSecond: number;
  latency: LatencySummary;
  refused: Record<string, number>;
  cpuSeconds: number;
  lateMs: number;
}

export function startPlayers(processes: number): Worker[] {
  return Array.from({ length: processes }, () => startWorker(new URL("./players.ts", import.meta.url)));
}

export async function connectPlayers(
  workers: Worker[],
  plan: { server: PlayheadServer; firstUser: number; count: number; shape: { courses: number; files: number } },
): Promise<void> {
  const { server, firstUser, count, shape } = plan;
  const share = Math.ceil(count / workers.length);
  await Promise.all(
    workers.map((worker, i) =>
      worker.call("connect", {
        url: server.url,
        secret: server.secret,
        firstUser: firstUser + i * share,
        count: Math.min(share, count - i * share),
        shape,
      } satisfies ConnectPlayers),
    ),
  );
}

export async function loadPlayers(workers: Worker[], window: LoadWindow): Promise<PlayersLoad> {
  const { ratePerSecond, ...rest } = window;
  const argument: LoadWindow =
    ratePerSecond === undefined ? rest : { ...rest, ratePerSecond: ratePerSecond / workers.length };
  const results = await Promise.all(workers.map((worker) => worker.call<LoadResult>("load", argument)));
  const refused: Record<string, number> = {};
  for (const result of results) {
    for (const [code, count] of Object.entries(result.refused)) refused[code] = (refused[code] ?? 0) + count;
  }
  return {
    perSecond: results.reduce((sum, { acked }) => sum + acked, 0) / window.seconds,
    latency: summarize(results.map((result) => result.latencies)),
    refused,
    cpuSeconds: results.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    lateMs: Math.max(...results.map(({ lateMs }) => lateMs)),
  };
}

export async function closePlayers(workers: Worker[]): Promise<void> {
  await Promise.all(workers.map((worker) => worker.stop()));
}
