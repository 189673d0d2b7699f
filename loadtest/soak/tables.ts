import type pg from "pg";

/** What PostgreSQL counts of a table. */
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

/** The ones a heartbeat writes. */
export const HOT_TABLES = ["user_progress", "lesson_progress", "course_progress"];
export const WATCHED_TABLES = [...HOT_TABLES, "streams", "stream_sessions"];

export async function readTables(client: pg.Client): Promise<TableState[]> {
  const { rows } = await client.query<TableState>(
    `SELECT relname AS "table", n_live_tup::float8 AS live, n_dead_tup::float8 AS dead, n_tup_upd::float8 AS updated,
       n_tup_hot_upd::float8 AS "hotUpdated", autovacuum_count::float8 AS autovacuums,
       pg_relation_size(relid)::float8 AS "tableBytes", pg_indexes_size(relid)::float8 AS "indexBytes"
     FROM pg_stat_user_tables WHERE relname = ANY($1::text[]) ORDER BY array_position($1::text[], relname::text)`,
    [WATCHED_TABLES],
  );
  return rows;
}
