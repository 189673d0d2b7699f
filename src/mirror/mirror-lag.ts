import type { Pool } from "../db/pool.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { readHorizon, readNextTransaction } from "./journal.ts";

/*
 * How far the mirror is behind, and what holds it back. Read from the database, so that it is told by every process,
 * and also while nobody follows.
 */

const COUNTED_UP_TO = 100_000;

export interface MirrorLag {
  /** Age of the oldest change that is not mirrored; 0 where there is none. */
  seconds: number;
  /** Rows of the journal, counted up to 100,000. */
  rows: number;
}

export async function readLag(pool: Pool): Promise<MirrorLag> {
  const { rows } = await pool.query<MirrorLag>(
    `SELECT coalesce((
         SELECT extract(epoch FROM clock_timestamp() - at) FROM progress_journal
         WHERE xid >= (SELECT cursor FROM mirror) ORDER BY xid, id LIMIT 1
       ), 0)::float8 AS seconds,
       (SELECT count(*) FROM (SELECT FROM progress_journal LIMIT ${COUNTED_UP_TO}) AS j)::integer AS rows`,
  );
  return rows[0] as MirrorLag;
}

/** Has the figures read when somebody asks for `/metrics`; while the database is away they keep their last value. */
export function collectMirrorMetrics(metrics: Metrics, pool: Pool, now: () => number = () => performance.now()): void {
  let oldest = { xid: "", since: 0 };
  Object.assign(metrics.mirrorLagSeconds, {
    async collect() {
      const lag = await readLag(pool).catch(() => null);
      if (lag === null) return;
      metrics.mirrorLagSeconds.set(lag.seconds);
      metrics.mirrorWaiting.set(lag.rows);
    },
  });
  Object.assign(metrics.oldestXminSeconds, {
    async collect() {
      const horizon = await readHorizon(pool).catch(() => null);
      const next = await readNextTransaction(pool).catch(() => null);
      if (horizon === null || next === null) return;
      // No statistics of other sessions are needed for this, which a plain user may not read.
      if (horizon !== oldest.xid) oldest = { xid: horizon, since: now() };
      metrics.oldestXminSeconds.set(BigInt(horizon) < BigInt(next) ? (now() - oldest.since) / 1000 : 0);
    },
  });
}
