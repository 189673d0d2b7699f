import type { LatencySummary } from "../harness/latency.ts";
import type { Cost } from "../load/cost-window.ts";

/** All that a run measured: what --json writes. */
export interface Figures {
  machine: string;
  /** Cores that processes which have nothing to do with the run took while the server was at saturation. */
  foreignCores: number | null;
  connections: number;
  courses: number;
  writers: number;
  ours: {
    perSecond: number;
    perRound: number[];
    latency: LatencySummary[];
    cost: Cost;
    generatorCpuSeconds: number;
    refused: Record<string, number>;
  };
  half: {
    ratePerSecond: number;
    perSecond: number;
    latency: LatencySummary;
    lateMs: number;
    cost: Cost;
    refused: Record<string, number>;
    dashboard: LatencySummary;
    unseen: number;
  };
  bare: { perSecond: number; perRound: number[]; postgresCpuSeconds: number | null; rows: number };
  recount: {
    perSecond: number;
    perRound: number[];
    latency: LatencySummary[];
    requests: number;
    serverCpuSeconds: number;
    postgresCpuSeconds: number | null;
    refused: Record<string, number>;
  };
  idle: { connections: number; kbPerConnection: number };
  after: { deadlocks: number; budgetCutMs: number; wrongAggregates: number };
}
