import pg from "pg";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { applyFunctions } from "./apply-functions.ts";
import { catchUpEdited } from "./edited-migrations.ts";
import { inTransaction } from "./pool.ts";
import { readSchemaFiles, type SchemaFile, toFileFailure } from "./schema-files.ts";
import { createRecordTables, type Queryable, readApplied, recordApplied } from "./schema-records.ts";
import { findPending, isCurrent } from "./schema-state.ts";
import { isBeforeSquash, takeOver } from "./squashed-migrations.ts";

/*
 * Gives a database the tables and functions of this version: first the numbered migrations, each in a transaction of
 * its own, then all functions whose text has changed, in one transaction. One process does so at a time; the others
 * wait, and find nothing left to do.
 */

/** Every version of Playhead takes this number, and nobody else ("play" in ASCII). */
const LOCK_KEY = 0x706c_6179;
const MINIMUM_SERVER_VERSION = 180_000;

export interface MigrateOptions {
  /** A direct connection: the lock belongs to a session, and a pooler in transaction mode keeps no session. */
  connectionString: string;
  logger: Logger;
  /** A folder laid out like `migrations/`, in its place. */
  directory?: string;
  /** Applies these numbered migrations alone, and no functions. */
  only?: readonly string[];
}

/** Names of the files that one call of `migrate` applied. */
export interface Applied {
  /** Those that were edited before 0.1.0, and brought in line, come first. */
  migrations: string[];
  functions: string[];
}

/**
 * Applies what is pending.
 * @throws AppError `unavailable` where PostgreSQL is too old; `conflict` naming the migration that this version cannot
 * build on; `internal` naming the file that failed, the line, and the reason
 */
export async function migrate({ connectionString, logger, directory, only }: MigrateOptions): Promise<Applied> {
  const files = await readSchemaFiles(directory);
  const client = new pg.Client({
    connectionString,
    application_name: "playhead-migrate",
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
  });
  client.on("error", (error) => logger.debug({ err: error }, "the connection of the migrations broke"));
  await client.connect();
  try {
    await assertServerVersion(client);
    await client.query(`SELECT pg_advisory_lock(${LOCK_KEY})`);
    await findPending(client, files); // Refuses before anything is changed.
    const applied = await readApplied(client, "schema_migrations");
    let caughtUp: string[] = [];
    if (isBeforeSquash(applied)) {
      logger.info("taking over a database from before the migrations were squashed");
      await inTransaction(client, () => takeOver(client, files, applied));
    } else {
      caughtUp = await inTransaction(client, () => catchUpEdited(client, files, applied));
    }
    const pending = await findPending(client, files);
    if (!isCurrent(pending)) await createRecordTables(client);
    const migrations = pending.migrations.filter(({ name }) => only?.includes(name) ?? true);
    for (const file of migrations) {
      logger.info({ migration: file.name }, "applying a migration");
      await applyMigration(client, file);
    }
    if (only === undefined && pending.functions.length + pending.goneFunctions.length > 0) {
      logger.info({ changed: names(pending.functions), gone: pending.goneFunctions }, "applying functions");
      await applyFunctions(client, pending);
    }
    return {
      migrations: [...caughtUp, ...names(migrations)],
      functions: only === undefined ? names(pending.functions) : [],
    };
  } finally {
    // Ends the session, and with it the lock.
    await client.end();
  }
}

/** @throws AppError `unavailable` where PostgreSQL is older than 18 */
export async function assertServerVersion(database: Queryable): Promise<string> {
  const { rows } = await database.query(
    "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS name",
  );
  const { number, name } = rows[0] as { number: number; name: string };
  if (number < MINIMUM_SERVER_VERSION) {
    throw new AppError(
      "unavailable",
      `Playhead needs PostgreSQL 18 or newer; the database at DATABASE_URL runs ${name}. ` +
        "Upgrade it, or leave DATABASE_URL unset to use the embedded one.",
    );
  }
  return name;
}

async function applyMigration(client: pg.Client, file: SchemaFile): Promise<void> {
  await inTransaction(client, async () => {
    await client.query(file.text);
    await recordApplied(client, "schema_migrations", [file]);
  }).catch((error: unknown) => {
    throw toFileFailure(`The migration ${file.name}.sql`, file, error);
  });
}

function names(files: readonly SchemaFile[]): string[] {
  return files.map(({ name }) => name);
}
