import { once } from "node:events";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import type pg from "pg";
import { AppError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { VERSIONS_AHEAD } from "../cluster.ts";
import { migrate } from "../migrate.ts";
import { inTransaction } from "../pool.ts";
import { readSchemaFiles } from "../schema-files.ts";
import { readApplied } from "../schema-records.ts";
import { DUMP_APPLICATION, type DumpResult, toResult, withClient } from "./dump-database.ts";
import { type PostgresTools, runPgRestore } from "./postgres-tools.ts";
import { type OpenDump, openDump } from "./read-dump.ts";
import { listFilledTables, listTables } from "./tables.ts";

/*
 * Restores a dump of either format, in one transaction that locks every table. A restore that fails changes no rows.
 */

const ARCHIVE_MAGIC = "PGDMP";
const GZIP_MAGIC = "\u001f\u008b";

export interface RestoreOptions {
  directUrl: string;
  input: Readable;
  /** Whether rows of the database may be deleted. */
  force: boolean;
  /** Finds pg_restore. Called only for an archive of pg_dump. @throws where none fits */
  findTools: () => Promise<PostgresTools>;
  logger: Logger;
}

/**
 * Restores a dump, then applies the migrations and functions that the dump did not have.
 * @throws AppError `conflict` where a server is connected, where the database has rows and `force` is not given, or
 * where database and dump have had different migrations; `bad_request` where the input is no whole dump
 */
export async function restoreDatabase(options: RestoreOptions): Promise<DumpResult> {
  const { directUrl, input, logger } = options;
  const kind = await detectKind(input);
  const restored = kind === "archive" ? await restoreArchive(options) : await restoreRows(options);
  await migrate({ connectionString: directUrl, logger });
  await withClient(directUrl, async (client) => {
    // Otherwise PostgreSQL plans the first queries for empty tables.
    await client.query("ANALYZE");
  });
  return restored;
}

async function detectKind(input: Readable): Promise<"archive" | "rows"> {
  try {
    if (input.readableLength === 0) await once(input, "readable"); // Comes at the end of an empty input too.
  } catch (cause) {
    throw new AppError("not_found", `The dump cannot be read: ${(cause as Error).message}`, { cause });
  }
  const start = (input.read() as Buffer | null) ?? Buffer.alloc(0);
  input.unshift(start);
  const text = start.toString("latin1", 0, ARCHIVE_MAGIC.length);
  if (text === ARCHIVE_MAGIC) return "archive";
  if (text.startsWith(GZIP_MAGIC)) return "rows";
  throw new AppError("bad_request", "This is neither a dump of Playhead nor an archive of pg_dump.");
}

async function restoreArchive({ directUrl, input, force, findTools }: RestoreOptions): Promise<DumpResult> {
  const tools = await findTools();
  const clean = await withClient(directUrl, async (client) => {
    await assertNoServer(client);
    if (!force) await assertNoRows(client);
    return (await readApplied(client, "schema_migrations")).size > 0;
  });
  // pg_restore makes the tables of the archive, fills them, and then makes their triggers.
  await runPgRestore(tools, directUrl, { input, clean });
  await withClient(directUrl, markRestored);
  return { by: "pg_restore", version: tools.version };
}

async function restoreRows({ directUrl, input, force, logger }: RestoreOptions): Promise<DumpResult> {
  const dump = await openDump(unpack(input));
  const { migrations } = dump.header;
  await assertKnown(migrations);
  return await withClient(directUrl, async (client) => {
    await assertNoServer(client);
    if ((await readApplied(client, "schema_migrations")).size === 0) {
      await migrate({ connectionString: directUrl, logger, only: Object.keys(migrations) });
    }
    await assertSameMigrations(client, migrations);
    return toResult(await inTransaction(client, () => fill(client, dump, force)));
  });
}

function unpack(input: Readable): Readable {
  const gunzip = createGunzip();
  input.once("error", (error) => gunzip.destroy(error));
  return input.pipe(gunzip);
}

async function fill(client: pg.Client, dump: OpenDump, force: boolean): Promise<Record<string, number>> {
  const tables = (await listTables(client)).map(({ name }) => client.escapeIdentifier(name));
  // Also locks every table against writers. TRUNCATE needs it: a trigger refuses TRUNCATE.
  for (const table of tables) await client.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`);
  if (!force) await assertNoRows(client);
  if (tables.length > 0) await client.query(`TRUNCATE ${tables.join(", ")}`);
  const rows = await dump.run(client);
  await markRestored(client);
  return rows;
}

/** Makes clients and the mirror see that the rows are others than before. */
async function markRestored(client: pg.Client): Promise<void> {
  await client.query("SELECT setval('progress_version', nextval('progress_version') + $1)", [VERSIONS_AHEAD]);
  const { rows } = await client.query<{ there: boolean }>("SELECT to_regclass('mirror') IS NOT NULL AS there");
  // The mirror compares all rows when the oid of user_progress differs from this one.
  if (rows[0]?.there) await client.query("UPDATE mirror SET table_oid = 0");
}

/** Refuses while a server is connected: it remembers rows, and would go on to write them. */
async function assertNoServer(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT DISTINCT application_name AS name FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'playhead%'
       AND application_name <> '${DUMP_APPLICATION}' ORDER BY 1`,
  );
  if (rows.length === 0) return;
  const names = rows.map((row) => row.name).join(", ");
  throw new AppError("conflict", `Playhead is connected to this database (${names}): stop every server first.`);
}

async function assertNoRows(client: pg.Client): Promise<void> {
  const filled = await listFilledTables(client, await listTables(client));
  if (filled.length === 0) return;
  throw new AppError(
    "conflict",
    `The database has rows already, in ${filled.join(", ")}. Restore into an empty database, or give --force to delete these rows.`,
  );
}

async function assertKnown(migrations: Record<string, string>): Promise<void> {
  const files = (await readSchemaFiles()).migrations;
  const known = Object.fromEntries(files.map(({ name, sha256 }) => [name, sha256]));
  const unknown = differentNames(migrations, known).filter((name) => name in migrations);
  if (unknown.length === 0) return;
  throw new AppError(
    "conflict",
    `Another version of Playhead made this dump: this version has no such migration ${unknown.join(", ")}.`,
  );
}

async function assertSameMigrations(client: pg.Client, migrations: Record<string, string>): Promise<void> {
  const applied = Object.fromEntries(await readApplied(client, "schema_migrations"));
  const different = differentNames(migrations, applied);
  if (different.length === 0) return;
  throw new AppError(
    "conflict",
    `The dump and this database have had different migrations: ${different.join(", ")}. Restore into a new database ` +
      "without tables: Playhead makes them as the dump needs them, fills them, and then brings them up to date.",
  );
}

/** Names that only one of the two has, or that both have with different texts. */
function differentNames(a: Record<string, string>, b: Record<string, string>): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => a[name] !== b[name]).sort();
}
