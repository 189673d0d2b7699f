import { sqlStateOf } from "./sqlstate.ts";

/*
 * A database's record of the SQL that was applied to it: the name and SHA-256 of each numbered migration
 * (`schema_migrations`) and of each function (`schema_functions`).
 */

const UNDEFINED_TABLE = "42P01";

/** A pool or a client. */
export interface Queryable {
  query(sql: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
}

export type RecordTable = "schema_migrations" | "schema_functions";

/** SHA-256 by name, in the order of the names. */
export type AppliedFiles = ReadonlyMap<string, string>;

/** Makes both tables where they are missing. */
export async function createRecordTables(database: Queryable): Promise<void> {
  for (const table of ["schema_migrations", "schema_functions"] satisfies RecordTable[]) {
    await database.query(
      `CREATE TABLE IF NOT EXISTS ${table} (name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`,
    );
  }
}

/** Records files as applied, each in the place of its older record. */
export async function recordApplied(
  database: Queryable,
  table: RecordTable,
  files: readonly { name: string; sha256: string }[],
): Promise<void> {
  await database.query(
    `INSERT INTO ${table} (name, sha256) SELECT * FROM unnest($1::text[], $2::text[])
     ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, applied_at = excluded.applied_at`,
    [files.map(({ name }) => name), files.map(({ sha256 }) => sha256)],
  );
}

/** Reads one table; empty where the database has no tables yet. */
export async function readApplied(database: Queryable, table: RecordTable): Promise<AppliedFiles> {
  try {
    // By way of JSON: before the squash, schema_migrations had no column sha256.
    const { rows } = await database.query(`SELECT name, to_jsonb(t) ->> 'sha256' AS sha256 FROM ${table} AS t`);
    const entries = rows.map((row) => [String(row.name), String(row.sha256)] as const);
    return new Map(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  } catch (error) {
    if (sqlStateOf(error) === UNDEFINED_TABLE) return new Map();
    throw error;
  }
}
