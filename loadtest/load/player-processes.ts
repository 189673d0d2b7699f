import { type LatencySummary, summarize } from "../harness/latency.ts";
import { startWorker, type Worker } from "../harness/worker.ts";
import type { ConnectPlayers, LoadResult, LoadWindow } from "./players.ts";
import type { PlayheadServer } from "./playhead-server.ts";

/*
 * Players spread over several processes, driven as one.
 */

export interface PlayersLoad {
  /** As LoadResult.acked, a second. */
  perSecond: number;
  /** As LoadResult.ackedInWindow, a second. */
  achievedPerSecond: number;
  acked: number;
  latency: LatencySummary;
  /** Encoded, to be merged with what other rounds saw. */
  latencies: string[];
  /** Of what was due in the first and in the last third of the window. */
  firstThird: LatencySummary;
  lastThird: LatencySummary;
  refused: Record<string, number>;
  cpuSeconds: number;
  lateMs: number;
}

export function startPlayers(processes: number): Worker[] {
  return Array.from({ length: processes }, () => startWorker(new URL("./players.ts", import.meta.url)));
}

export async function connectPlayers(
  workers: Worker[],
  plan: {
    server: Pick<PlayheadServer, "url" | "secret">;
    firstUser: number;
    count: number;
    shape: { courses: number; files: number };
  },
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
  const sum = (pick: (result: LoadResult) => number) => results.reduce((total, result) => total + pick(result), 0);
  const refused: Record<string, number> = {};
  for (const result of results) {
    for (const [code, count] of Object.entries(result.refused)) refused[code] = (refused[code] ?? 0) + count;
  }
  return {
    perSecond: sum(({ acked }) => acked) / window.seconds,
    achievedPerSecond: sum(({ ackedInWindow }) => ackedInWindow) / window.seconds,
    acked: sum(({ acked }) => acked),
    latency: summarize(results.map((result) => result.latencies)),
    latencies: results.map((result) => result.latencies),
    firstThird: summarize(results.map((result) => result.firstThird)),
    lastThird: summarize(results.map((result) => result.lastThird)),
    refused,
    cpuSeconds: sum(({ cpuSeconds }) => cpuSeconds),
    lateMs: Math.max(...results.map(({ lateMs }) => lateMs)),
  };
}

export async function closePlayers(workers: Worker[]): Promise<void> {
  await Promise.all(workers.map((worker) => worker.stop()));
}
