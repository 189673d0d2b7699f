import type { Window } from "./window.ts";

/**
 * `active`, `uniform`: the workloads, with the settings of the embedded server. `bare`: `uniform` without whole pages in
 * the log, at the largest size. `buffered`: `active` with a quarter of the memory as shared_buffers.
 */
export type Scenario = "active" | "uniform" | "bare" | "buffered";

/** The medians of a size and a scenario. */
export interface Cost {
  rows: number;
  cpuUs: number;
  serverUs: number;
  postgresUs: number | null;
  wallUs: number;
  walBytes: number;
  fullPages: number;
  blocksRead: number;
  hotShare: number;
}

export function toCost(rows: number, windows: Window[]): Cost {
  const median = (pick: (window: Window) => number) => medianOf(windows.map(pick));
  const isKnown = windows.every((window) => window.postgresUs !== null);
  return {
    rows,
    cpuUs: median((window) => window.serverUs + (window.postgresUs ?? 0)),
    serverUs: median((window) => window.serverUs),
    postgresUs: isKnown ? median((window) => window.postgresUs ?? 0) : null,
    wallUs: median((window) => window.wallUs),
    walBytes: median((window) => window.counters.walBytes),
    fullPages: median((window) => window.counters.fullPages),
    blocksRead: median((window) => window.counters.blocksRead),
    hotShare: median((window) => window.counters.hotUpdates / Math.max(1e-9, window.counters.updates)),
  };
}

export function medianOf(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
