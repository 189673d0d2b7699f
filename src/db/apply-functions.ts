import type pg from "pg";
import { inTransaction } from "./pool.ts";
import { type SchemaFile, toFileFailure } from "./schema-files.ts";
import { recordApplied } from "./schema-records.ts";
import type { PendingSchema } from "./schema-state.ts";
import { sqlStateOf } from "./sqlstate.ts";

/*
 * Replaces functions and their triggers. Where only a body changed, a function stays the same object, and views of an
 * operator that use it stay too. A function whose parameters or result changed is dropped first.
 */

/**
 * CREATE OR REPLACE cannot change a result or a parameter's name; COMMENT cannot tell two functions of one name apart.
 */
const NEEDS_DROP = new Set(["42P13", "42725"]);

/**
 * Statements that drop the triggers and functions of these names, except those that this transaction has written. After
 * a file has run, what is left is what the file no longer holds.
 */
const LIST_DROPS = `
  WITH named AS (
    SELECT oid, xmin AS writer FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname = ANY ($1)
  )
  SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) AS statement
  FROM pg_trigger AS t JOIN named ON tgfoid = named.oid WHERE NOT tgisinternal AND t.xmin <> pg_current_xact_id()::xid
  UNION ALL
  SELECT format('DROP FUNCTION %s', oid::regprocedure) FROM named WHERE writer <> pg_current_xact_id()::xid
  ORDER BY statement DESC`;

/** Bodies are checked when all functions are there, so their order does not matter. */
const CHECK_BODIES = `
  SELECT CASE lanname WHEN 'sql' THEN fmgr_sql_validator(p.oid) ELSE plpgsql_validator(p.oid) END
  FROM pg_proc AS p JOIN pg_language AS l ON l.oid = prolang
  WHERE pronamespace = current_schema()::regnamespace AND proname = $1`;

/**
 * Applies changed functions and drops those that are gone, in one transaction.
 * @throws AppError `internal` naming the file that failed
 */
export async function applyFunctions(client: pg.Client, pending: PendingSchema): Promise<void> {
  try {
    await inTransaction(client, () => replace(client, pending, pending.goneFunctions));
  } catch (error) {
    if (!NEEDS_DROP.has(sqlStateOf((error as Error).cause) ?? "")) throw error;
    const all = [...pending.goneFunctions, ...pending.functions.map(({ name }) => name)];
    await inTransaction(client, () => replace(client, pending, all));
  }
}

async function replace(
  client: pg.Client,
  { functions, goneFunctions }: PendingSchema,
  droppedFirst: readonly string[],
): Promise<void> {
  const names = functions.map(({ name }) => name);
  await client.query("SET LOCAL check_function_bodies = off");
  await drop(client, droppedFirst);
  for (const file of functions) await explained(file, client.query(file.text));
  await drop(client, names);
  await client.query("SET LOCAL check_function_bodies = on");
  for (const file of functions) await explained(file, client.query(CHECK_BODIES, [file.name]));
  await recordApplied(client, "schema_functions", functions);
  await client.query("DELETE FROM schema_functions WHERE name = ANY ($1)", [goneFunctions]);
}

async function explained(file: SchemaFile, running: Promise<unknown>): Promise<void> {
  await running.catch((error: unknown) => {
    throw toFileFailure(`The file functions/${file.name}.sql`, file, error);
  });
}

async function drop(client: pg.Client, names: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ statement: string }>(LIST_DROPS, [names]);
  for (const { statement } of rows) await client.query(statement);
}
