import type pg from "pg";
import { isTransient, sqlStateOf } from "./sqlstate.ts";

/*
 * Asks a connection which server it leads to. Two values tell servers apart: the identifier of the cluster (another
 * after a restore into another cluster) and the timeline (higher after a failover, and after a recovery to a point in
 * time). pg_control_checkpoint() would give the timeline of the last checkpoint, which may be the old one for minutes
 * after a failover; the name of the WAL file gives the one that is written.
 */

export interface Cluster {
  system: string;
  timeline: number;
}

export interface Server {
  isStandby: boolean;
  isReadOnly: boolean;
  /** Null on a standby, and where a provider does not let Playhead ask. */
  cluster: Cluster | null;
}

/**
 * Open players and dashboards ignore versions below the highest that they have seen, and a process must never take a
 * version for another. After a failover that lost commits, versions would be given twice. So many cannot have been lost.
 */
export const VERSIONS_AHEAD = 1_000_000_000;

const STATE = "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS readonly";
const IDENTITY = `${STATE}, (SELECT system_identifier::text FROM pg_control_system()) AS system,
  CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline`;

interface Row {
  standby: boolean;
  readonly: boolean;
  system?: string;
  timeline?: string | null;
}

/** @throws the database's error, where the connection fails */
export async function identify(client: pg.ClientBase): Promise<Server> {
  const { rows } = await client.query<Row>(IDENTITY).catch((error: unknown) => {
    if (sqlStateOf(error) === undefined || isTransient(error)) throw error;
    return client.query<Row>(STATE);
  });
  const { standby, readonly, system, timeline } = rows[0] as Row;
  const isKnown = system !== undefined && typeof timeline === "string";
  return {
    isStandby: standby,
    isReadOnly: readonly,
    cluster: isKnown ? { system, timeline: Number.parseInt(timeline, 16) } : null,
  };
}

/** In the form in which the table `settings` records it. */
export function toText({ system, timeline }: Cluster): string {
  return `${system}/${timeline}`;
}

/**
 * One process does it for each move: the table `settings` records the cluster whose versions were raised last. The
 * statement does not wait for a synchronous standby, so that reads go on without one. A later failover that loses it
 * makes another timeline, which raises the versions again.
 */
const RAISE = `
WITH unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'local', true)),
entered AS (
  INSERT INTO settings AS s (name, value) SELECT 'cluster', $1 FROM unhurried
  ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE s.value <> excluded.value
  RETURNING old.value AS before
)
SELECT setval('progress_version', nextval('progress_version') + $2::bigint) FROM entered WHERE before IS NOT NULL OR $3`;

/**
 * Raises the versions of the database where it has moved to this cluster since the last call of any process.
 * @param hasMoved this process has seen another cluster before; the record of it may be lost
 */
export async function raiseVersions(client: pg.ClientBase, cluster: Cluster, hasMoved: boolean): Promise<void> {
  await client.query(RAISE, [toText(cluster), VERSIONS_AHEAD, hasMoved]);
}
