import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { sqlStateOf } from "./sqlstate.ts";

/*
 * Brings the database to the shape this version needs: the plain SQL files of migrations/, in the order of
 * their numbers, each in a transaction of its own. One process at a time: the others wait and find it done.
 */

/** The same distance from src/db and from dist/db. */
const DIRECTORY = fileURLToPath(new URL("../../migrations", import.meta.url));
const TABLE = "schema_migrations";
/** Any number will do, as long as every version of Playhead takes the same and nobody else does ("play" in ASCII). */
const LOCK_KEY = 0x706c_6179;
export const MINIMUM_SERVER_VERSION = 180_000;
const UNDEFINED_TABLE = "42P01";

export interface MigrateOptions {
  /** A direct connection: the lock belongs to a session, which a pooler in transaction mode does not keep. */
  connectionString: string;
  logger: Logger;
  directory?: string;
  /** Applies only what is pending of these. */
  only?: readonly string[];
}

/** What runs a query: a pool or a client. */
interface Queryable {
  query(sql: string): Promise<{ rows: Record<string, unknown>[] }>;
}

/**
 * Applies what is pending, and returns the names of the files applied by this call.
 * @throws AppError `unavailable` for a PostgreSQL that is too old, `internal` naming the file that failed, and why.
 */
export async function migrate(options: MigrateOptions): Promise<string[]> {
  const { connectionString, logger, directory = DIRECTORY, only } = options;
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
    await client.query(`select pg_advisory_lock(${LOCK_KEY})`);
    const all = await pendingMigrations(client, directory);
    const pending = only === undefined ? all : all.filter((name) => only.includes(name));
    for (const name of pending) {
      logger.info({ migration: name }, "applying a migration");
      await applyMigration(client, { name, directory, logger });
    }
    return pending;
  } finally {
    // Ends the session, and with it the lock.
    await client.end();
  }
}

/** The files that this database has not seen, in order. Works before the first migration as well. */
export async function pendingMigrations(database: Queryable, directory = DIRECTORY): Promise<string[]> {
  const applied = await appliedMigrations(database);
  return (await listMigrations(directory)).filter((name) => !applied.has(name));
}

/** @throws AppError `unavailable` where PostgreSQL is older than 18. */
export async function assertServerVersion(database: Queryable): Promise<string> {
  const { rows } = await database.query(
    "select current_setting('server_version_num')::int as number, current_setting('server_version') as name",
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

/** The files of this version, in order. */
export async function listMigrations(directory = DIRECTORY): Promise<string[]> {
  const files = await readdir(directory);
  return files
    .filter((file) => /^\d{4}_.+\.sql$/.test(file))
    .map((file) => file.slice(0, -".sql".length))
    .sort();
}

/** What this database has seen; nothing where it has no tables yet. */
export async function appliedMigrations(database: Queryable): Promise<Set<string>> {
  try {
    const { rows } = await database.query(`select name from ${TABLE}`);
    return new Set(rows.map((row) => String(row.name)));
  } catch (error) {
    if (sqlStateOf(error) === UNDEFINED_TABLE) {
      return new Set();
    }
    throw error;
  }
}

async function applyMigration(
  client: pg.Client,
  { name, directory, logger }: { name: string; directory: string; logger: Logger },
): Promise<void> {
  // Loaded here because it brings a compiler along, which no start with nothing to migrate needs.
  const { runner } = await import("node-pg-migrate");
  const log = (message: unknown) => logger.debug({ migration: name }, String(message));
  try {
    await runner({
      dbClient: client,
      dir: directory,
      file: name,
      ignorePattern: "(?!\\d{4}_.+\\.sql$).*",
      migrationsTable: TABLE,
      direction: "up",
      singleTransaction: true,
      noLock: true,
      logger: { debug: log, info: log, warn: log, error: log },
    });
  } catch (error) {
    const file = join(directory, `${name}.sql`);
    throw new AppError("internal", `The migration ${name}.sql failed${await describeFailure(error, file)}`, {
      cause: error,
    });
  }
}

/** Where in the file, and what PostgreSQL says of it. */
async function describeFailure(error: unknown, file: string): Promise<string> {
  const { message, position, detail, hint, where } = error as Partial<pg.DatabaseError>;
  const text = await readFile(file, "utf8").catch(() => "");
  const place = position === undefined ? "" : ` at line ${text.slice(0, Number(position)).split("\n").length}`;
  return `${place}: ${[message, detail, hint, where].filter(Boolean).join(". ")}`;
}
