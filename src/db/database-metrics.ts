import type { Metrics } from "../metrics/metrics.ts";
import { observeStatements } from "./observe-statements.ts";
import type { Pool } from "./pool.ts";

export interface ObservedPools {
  pool: Pool;
  writerPool: Pool;
}

/** Has the figures of the database read when somebody asks for `/metrics`; while it is away they keep their last value. */
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
  Object.assign(metrics.streamsLive, {
    async collect() {
      const live = await pool
        .query<{ count: number }>("SELECT count(*) FROM stream_sessions WHERE state <> 'ended' AND state = 'live'")
        .catch(() => null);
      if (live !== null) metrics.streamsLive.set(live.rows[0]?.count ?? 0);
    },
  });
  Object.assign(metrics.notificationQueue, {
    async collect() {
      const usage = await pool
        .query<{ usage: number }>("SELECT pg_notification_queue_usage() AS usage")
        .catch(() => null);
      if (usage !== null) metrics.notificationQueue.set(usage.rows[0]?.usage ?? 0);
    },
  });
  Object.assign(metrics.databaseBytes, {
    async collect() {
      const size = await pool
        .query<{ bytes: number }>("SELECT pg_database_size(current_database()) AS bytes")
        .catch(() => null);
      if (size !== null) metrics.databaseBytes.set(size.rows[0]?.bytes ?? 0);
    },
  });
}
