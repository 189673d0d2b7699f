import type { LatencySummary } from "../harness/latency.ts";
import type { Worker } from "../harness/worker.ts";
import { watchCost } from "../load/cost-window.ts";
import { loadPlayers } from "../load/player-processes.ts";
import type { PlayheadServer } from "../load/playhead-server.ts";

/*
 * Heartbeats at even intervals, whatever the acks do, faster and faster until the server no longer keeps up.
 */

export interface Step {
  offeredPerSecond: number;
  /** Acked within the window. */
  achievedPerSecond: number;
  /** From when a heartbeat was due. */
  latency: LatencySummary;
  /** Null where it keeps up, else in what it does not. */
  failure: string | null;
  serverMicros: number | null;
  postgresMicros: number | null;
  generatorMicros: number;
  /** Below 1 where heartbeats of one player wait for each other and are written as one. */
  rowsPerHeartbeat: number | null;
  refused: Record<string, number>;
}

export interface Ladder {
  workers: number;
  /** By closed loop. */
  topPerSecond: number;
  steps: Step[];
}

/** Below this share of what is offered it does not keep up. */
export const KEPT_SHARE = 0.97;
/** It grows without bound where the last third of the window waits so much longer than the first. */
const GROWTH = 1.5;
const GROWTH_MS = 50;

const SHARES = [0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.35, 1.5];
const QUICK_SHARES = [0.25, 0.5, 0.75, 1, 1.25, 1.5];
/** Past the last share; for when the closed loop was disturbed, and its top rate is none. */
const FURTHER = 1.25;
const MAX_STEPS = 16;

/** Steps are shares of the closed loop's top rate; the last is the first that is too much. */
export async function climb(
  server: PlayheadServer,
  players: Worker[],
  plan: {
    topPerSecond: number;
    warmupSeconds: number;
    seconds: number;
    isQuick: boolean;
    tell(what: string, share: number): void;
  },
): Promise<Step[]> {
  const steps: Step[] = [];
  const shares = plan.isQuick ? QUICK_SHARES : SHARES;
  for (let i = 0; i < MAX_STEPS; i++) {
    const share = shares[i] ?? (shares.at(-1) ?? 1) * FURTHER ** (i + 1 - shares.length);
    const ratePerSecond = Math.round(share * plan.topPerSecond);
    plan.tell(`${ratePerSecond.toLocaleString("en-US")} heartbeats a second are offered`, i / MAX_STEPS);
    const window = { warmupSeconds: plan.warmupSeconds, seconds: plan.seconds };
    const [load, cost] = await Promise.all([
      loadPlayers(players, { ...window, ratePerSecond }),
      watchCost(server, window),
    ]);
    // Past what it keeps up with, several workers may not answer in time what they have done.
    const isKnown = cost.heartbeats > 0;
    const perHeartbeat = (seconds: number | null) =>
      seconds === null || !isKnown ? null : (seconds * 1e6) / cost.heartbeats;
    const step: Step = {
      offeredPerSecond: ratePerSecond,
      achievedPerSecond: load.achievedPerSecond,
      latency: load.latency,
      failure: failureOf(ratePerSecond, load),
      serverMicros: perHeartbeat(cost.serverCpuSeconds),
      postgresMicros: perHeartbeat(cost.postgresCpuSeconds),
      generatorMicros: (load.cpuSeconds * 1e6) / load.acked,
      rowsPerHeartbeat: isKnown ? cost.rows / cost.heartbeats : null,
      refused: load.refused,
    };
    steps.push(step);
    if (step.failure !== null) break;
  }
  return steps;
}

function failureOf(
  offered: number,
  load: { achievedPerSecond: number; firstThird: LatencySummary; lastThird: LatencySummary },
): string | null {
  const { achievedPerSecond, firstThird, lastThird } = load;
  if (achievedPerSecond < KEPT_SHARE * offered) {
    return `acked ${((achievedPerSecond / offered) * 100).toFixed(0)} %`;
  }
  if (lastThird.p50Ms > GROWTH * firstThird.p50Ms + GROWTH_MS) {
    return `p50 grew from ${firstThird.p50Ms.toFixed(0)} to ${lastThird.p50Ms.toFixed(0)} ms`;
  }
  return null;
}

/** The most that was offered and kept up with; 0 where nothing was. */
export function sustained({ steps }: Ladder): number {
  return Math.max(
    0,
    ...steps.filter(({ failure }) => failure === null).map(({ offeredPerSecond }) => offeredPerSecond),
  );
}
