import type pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import { AppError } from "../../errors.ts";
import { hasEarlierText } from "../edited-migrations.ts";
import { assertServerVersion } from "../migrate.ts";
import { readApplied } from "../schema-records.ts";
import { isBeforeSquash } from "../squashed-migrations.ts";
import { END_OF_ROWS, formatFooter, formatHeader } from "./dump-format.ts";
import { FILLED_BY_MIGRATIONS, listSequences, listTables, type Table } from "./tables.ts";

/*
 * Writes a dump without pg_dump: the embedded PostgreSQL brings none along, and many systems have one that is older
 * than the server. All rows are of one moment, read in one transaction that keeps nobody waiting. The dump holds no
 * tables: migrations make them.
 */

/** Make the dump and its restore read text the same way, whatever the settings of the two databases. */
const SETTINGS = [
  "SET client_encoding = 'UTF8';",
  "SET datestyle = 'ISO, YMD';",
  "SET intervalstyle = 'iso_8601';",
  "SET timezone = 'UTC';",
  "SET bytea_output = 'hex';",
  "SET statement_timeout = 0;",
  "SET lock_timeout = 0;",
  "SET idle_in_transaction_session_timeout = 0;",
];

/**
 * Yields the text of the dump piece by piece, and counts the rows of each table in `rows`.
 * @throws AppError `not_found` for a database without tables, `conflict` for one that has to be migrated first
 */
export async function* writeDump(client: pg.ClientBase, rows: Map<string, number>): AsyncGenerator<string | Buffer> {
  for (const setting of SETTINGS) await client.query(setting);
  const migrations = await readApplied(client, "schema_migrations");
  if (migrations.size === 0) {
    throw new AppError("not_found", "There is nothing to dump: this database has no tables of Playhead.");
  }
  if (isBeforeSquash(migrations) || hasEarlierText(migrations)) {
    throw new AppError("conflict", "An older version made this database. Run `playhead migrate` first, then dump it.");
  }
  await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  try {
    const tables = await listTables(client);
    const quote = (name: string) => client.escapeIdentifier(name);
    // Nobody may drop a partition meanwhile.
    const names = tables.flatMap((table) => [table.name, ...table.partitions.map((partition) => partition.name)]);
    if (names.length > 0) await client.query(`LOCK TABLE ${names.map(quote).join(", ")} IN ACCESS SHARE MODE`);
    yield lines([
      formatHeader({
        takenAt: new Date().toISOString(),
        postgres: await assertServerVersion(client),
        migrations: Object.fromEntries(migrations),
        functions: Object.fromEntries(await readApplied(client, "schema_functions")),
      }),
      "-- To restore without Playhead, into a database that has had the same migrations and has no rows:",
      '-- gunzip -c <file> | psql --single-transaction --set ON_ERROR_STOP=1 "$DATABASE_URL"',
      ...SETTINGS,
      // The dump holds sums, versions and logs: triggers would compute them a second time.
      ...tables.map(({ name }) => `ALTER TABLE ${quote(name)} DISABLE TRIGGER USER;`),
      ...tables.flatMap((table) => makePartitions(table, quote)),
      ...tables.filter(({ name }) => FILLED_BY_MIGRATIONS.has(name)).map(({ name }) => `DELETE FROM ${quote(name)};`),
    ]);
    for (const table of tables) yield* writeRows(client, table, rows);
    yield lines([
      ...(await readSequences(client)),
      ...tables.map(({ name }) => `ALTER TABLE ${quote(name)} ENABLE TRIGGER USER;`),
      formatFooter({ rows: Object.fromEntries(rows) }),
    ]);
  } finally {
    await client.query("ROLLBACK");
  }
}

function makePartitions({ name, partitions }: Table, quote: (name: string) => string): string[] {
  return partitions.map(
    (partition) =>
      `CREATE TABLE IF NOT EXISTS ${quote(partition.name)} PARTITION OF ${quote(name)} ${partition.bound};`,
  );
}

/** Writes the rows of a partitioned table under its own name: at the restore it sorts them into its partitions. */
async function* writeRows(client: pg.ClientBase, table: Table, rows: Map<string, number>) {
  const columns = table.columns.map((column) => client.escapeIdentifier(column)).join(", ");
  const name = client.escapeIdentifier(table.name);
  yield lines([`COPY ${name} (${columns}) FROM stdin;`]);
  const copy = client.query(copyTo(`COPY (SELECT ${columns} FROM ${name}) TO STDOUT`));
  for await (const chunk of copy) yield chunk as Buffer;
  rows.set(table.name, copy.rowCount);
  yield lines([END_OF_ROWS]);
}

/** Sequences belong to no snapshot. Read after the rows, they may be ahead of the rows, never behind. */
async function readSequences(client: pg.ClientBase): Promise<string[]> {
  const statements: string[] = [];
  for (const name of await listSequences(client)) {
    const { rows } = await client.query<{ value: string; called: boolean }>(
      `SELECT last_value::text AS value, is_called AS called FROM ${client.escapeIdentifier(name)}`,
    );
    const { value, called } = rows[0] as { value: string; called: boolean };
    const sequence = client.escapeLiteral(client.escapeIdentifier(name));
    statements.push(`SELECT setval(${sequence}, ${value}, ${called});`);
  }
  return statements;
}

function lines(all: string[]): string {
  return all.map((line) => `${line}\n`).join("");
}
