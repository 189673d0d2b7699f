import type { Metrics } from "../metrics/metrics.ts";
import { observeStatements } from "./observe-statements.ts";
import type { Pool } from "./pool.ts";

export interface ObservedPools {
  pool: Pool;
  writerPool: Pool;
}

/** Queries of one figure. The first condition of `streamsLive` is that of the partial index on active sessions. */
const FIGURES = {
  streamsLive: "SELECT count(*) AS figure FROM stream_sessions WHERE state <> 'ended' AND state = 'live'",
  notificationQueue: "SELECT pg_notification_queue_usage() AS figure",
  databaseBytes: "SELECT pg_database_size(current_database()) AS figure",
  // PostgreSQL shows a role what its own backends wait for.
  commitsWaiting: `SELECT count(*) AS figure FROM pg_stat_activity
    WHERE wait_event = 'SyncRep' AND state_change < clock_timestamp() - interval '2 seconds'`,
} as const;

/**
 * Measures the statements of both pools, and reads the figures of the database whenever `/metrics` is read. While the
 * database is away, a figure keeps its last value.
 */
export function collectDatabaseMetrics(metrics: Metrics, { pool, writerPool }: ObservedPools): void {
  observeStatements(pool, (seconds) => metrics.querySeconds.observe({ pool: "reads" }, seconds));
  observeStatements(writerPool, (seconds) => metrics.querySeconds.observe({ pool: "writers" }, seconds));
  Object.assign(metrics.poolConnections, {
    collect() {
      metrics.poolConnections.set({ state: "total" }, pool.totalCount);
      metrics.poolConnections.set({ state: "idle" }, pool.idleCount);
      metrics.poolConnections.set({ state: "waiting" }, pool.waitingCount);
      metrics.poolConnections.set({ state: "max" }, pool.options.max);
    },
  });
  for (const [name, sql] of Object.entries(FIGURES)) {
    const gauge = metrics[name as keyof typeof FIGURES];
    Object.assign(gauge, {
      async collect() {
        const found = await pool.query<{ figure: number }>(sql).catch(() => null);
        if (found !== null) gauge.set(found.rows[0]?.figure ?? 0);
      },
    });
  }
}
