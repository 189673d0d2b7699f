import type { Pool } from "../db/pool.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { readHorizon, readNextTransaction } from "./journal.ts";

/*
 * Measures how far the mirror is behind, and which transaction holds it back. All figures come from the database, so
 * every process can report them, even while no process follows.
 */

const COUNTED_UP_TO = 100_000;

export interface MirrorLag {
  /** The age of the oldest change that is not mirrored; 0 where there is none. */
  seconds: number;
  /** Rows of the journal, counted up to 100,000. */
  rows: number;
}

/** Reads the lag from the database. */
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

/** Reads the figures whenever `/metrics` is read. While the database is away, a figure keeps its last value. */
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
      // Measured here, because a plain database user may not read the statistics of other sessions.
      if (horizon !== oldest.xid) oldest = { xid: horizon, since: now() };
      metrics.oldestXminSeconds.set(BigInt(horizon) < BigInt(next) ? (now() - oldest.since) / 1000 : 0);
    },
  });
}
