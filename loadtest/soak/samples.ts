import type { Memory } from "../harness/child-process.ts";
import type { Summary } from "../harness/window.ts";
import { withClient } from "../load/database.ts";
import type { PlayheadServer } from "../load/playhead-server.ts";

/** The state after one window of the steady load. */
export interface Sample extends Memory {
  /** Minutes since the start of the load. */
  minute: number;
  tables: TableState[];
  load: Summary;
}

/** PostgreSQL's counters of a table. */
export interface TableState {
  table: string;
  live: number;
  dead: number;
  updated: number;
  hotUpdated: number;
  autovacuums: number;
  tableBytes: number;
  indexBytes: number;
}

/** The tables that a heartbeat writes. */
export const HOT_TABLES = ["user_progress", "lesson_progress", "course_progress"];
const TABLES = [...HOT_TABLES, "streams", "stream_sessions"];

const STATES = `
SELECT relname AS "table", n_live_tup::float8 AS live, n_dead_tup::float8 AS dead, n_tup_upd::float8 AS updated,
  n_tup_hot_upd::float8 AS "hotUpdated", autovacuum_count::float8 AS autovacuums,
  pg_relation_size(relid)::float8 AS "tableBytes", pg_indexes_size(relid)::float8 AS "indexBytes"
FROM pg_stat_user_tables WHERE relname = ANY($1::text[]) ORDER BY array_position($1::text[], relname::text)`;

const SETTINGS = `
SELECT string_agg(name || ' ' || setting || coalesce(' ' || unit, ''), ', ' ORDER BY name) AS text FROM pg_settings
WHERE name IN ('autovacuum_naptime', 'autovacuum_vacuum_scale_factor', 'autovacuum_vacuum_threshold', 'autovacuum_vacuum_cost_delay')`;

export async function readTables({ databaseUrl }: PlayheadServer): Promise<TableState[]> {
  return await withClient(databaseUrl, async (client) => (await client.query<TableState>(STATES, [TABLES])).rows);
}

export async function readSettings({ databaseUrl }: PlayheadServer): Promise<string> {
  const { rows } = await withClient(databaseUrl, (client) => client.query<{ text: string }>(SETTINGS));
  return rows[0]?.text ?? "";
}
