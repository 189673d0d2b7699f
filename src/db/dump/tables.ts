import type pg from "pg";

/*
 * Reads from the database's own catalogue which tables a dump has to hold. So a table of a later migration is in the
 * next dump without a change here.
 */

/** The record of the SQL that a database has had. Every database writes its own. */
const RECORDS = "('schema_migrations', 'schema_functions')";

/** Migrations put rows into these tables. The rows of a dump replace them. */
export const FILLED_BY_MIGRATIONS: ReadonlySet<string> = new Set(["mirror"]);

/** Every server records in the table `settings` on which cluster it runs. */
const NO_RECORD = "WHERE name <> 'cluster'";

export interface Table {
  name: string;
  /** Stored columns: a generated column cannot be written. */
  columns: string[];
  /** Tables that its foreign keys name. */
  references: string[];
  /** Partitions that hold its rows; empty where the table is not partitioned. */
  partitions: Partition[];
}

export interface Partition {
  name: string;
  /** As `CREATE TABLE … PARTITION OF` takes it: `FOR VALUES FROM … TO …`, or `DEFAULT`. */
  bound: string;
}

const TABLES = `
  SELECT c.relname AS name,
    ARRAY(SELECT a.attname::text FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS columns,
    ARRAY(SELECT DISTINCT r.relname::text FROM pg_constraint k JOIN pg_class r ON r.oid = k.confrelid
      WHERE k.conrelid = c.oid AND k.contype = 'f' AND r.oid <> c.oid) AS references,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('name', p.relname, 'bound', pg_get_expr(p.relpartbound, p.oid)) ORDER BY p.relname), '[]')
      FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid WHERE t.isleaf AND p.oid <> c.oid) AS partitions
  FROM pg_class c
  WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND c.relname NOT IN ${RECORDS}
  ORDER BY c.relname`;

/** Every table of Playhead, sorted so that a table comes after those that its foreign keys name. */
export async function listTables(client: pg.ClientBase): Promise<Table[]> {
  const { rows } = await client.query<Table>(TABLES);
  const sorted: Table[] = [];
  const waiting = new Map(rows.map((table) => [table.name, table]));
  while (waiting.size > 0) {
    const free = [...waiting.values()].filter((table) => !table.references.some((name) => waiting.has(name)));
    // Tables that refer to each other have no order. PostgreSQL refuses their rows at the restore.
    for (const table of free.length > 0 ? free : waiting.values()) {
      sorted.push(table);
      waiting.delete(table.name);
    }
  }
  return sorted;
}

/** The names of all sequences. */
export async function listSequences(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "SELECT relname AS name FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'S' ORDER BY relname",
  );
  return rows.map((row) => row.name);
}

/** The names of those tables that have rows which no migration put there. */
export async function listFilledTables(client: pg.ClientBase, tables: readonly Table[]): Promise<string[]> {
  const filled: string[] = [];
  for (const { name } of tables.filter((table) => !FILLED_BY_MIGRATIONS.has(table.name))) {
    const { rows } = await client.query<{ filled: boolean }>(
      `SELECT EXISTS (SELECT FROM ${client.escapeIdentifier(name)} ${name === "settings" ? NO_RECORD : ""}) AS filled`,
    );
    if (rows[0]?.filled) filled.push(name);
  }
  return filled;
}
