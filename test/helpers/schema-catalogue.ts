import type { TestDatabase } from "./database.ts";

/** Leaves out Playhead's own record of applied SQL, whose times differ between databases. */
const NO_RECORD = "NOT LIKE 'schema\\_%'";
const OF_SCHEMA = "namespace = current_schema()::regnamespace";

const QUERIES = {
  columns: `SELECT concat_ws(' ', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated,
      a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid)) AS item
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
    WHERE c.rel${OF_SCHEMA} AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND c.relname ${NO_RECORD}`,
  relations: `SELECT concat_ws(' ', relname, relkind, reloptions, pg_get_expr(relpartbound, oid)) AS item
    FROM pg_class WHERE rel${OF_SCHEMA} AND relname ${NO_RECORD}`,
  constraints: `SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) AS item
    FROM pg_constraint WHERE con${OF_SCHEMA} AND conrelid::regclass::text ${NO_RECORD}`,
  indexes: `SELECT indexdef AS item FROM pg_indexes WHERE schemaname = current_schema() AND tablename ${NO_RECORD}`,
  functions: `SELECT concat_ws(' ', pg_get_functiondef(oid), obj_description(oid, 'pg_proc')) AS item FROM pg_proc WHERE pro${OF_SCHEMA}`,
  triggers: `SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled) AS item FROM pg_trigger WHERE NOT tgisinternal`,
};

/** The definition of everything in the schema of a database, sorted: equal for databases with equal schemas. */
export async function readSchemaCatalogue({ query }: TestDatabase): Promise<Record<keyof typeof QUERIES, string[]>> {
  const lists = await Promise.all(
    Object.entries(QUERIES).map(async ([kind, sql]) => {
      const rows = await query<{ item: string }>(`SELECT * FROM (${sql}) AS t ORDER BY item COLLATE "C"`);
      return [kind, rows.map(({ item }) => item)];
    }),
  );
  return Object.fromEntries(lists);
}
