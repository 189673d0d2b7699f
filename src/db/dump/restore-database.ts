import { once } from "node:events";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import type pg from "pg";
import { AppError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { migrate } from "../migrate.ts";
import { readSchemaFiles } from "../schema-files.ts";
import { readApplied } from "../schema-records.ts";
import { DUMP_APPLICATION, withClient } from "./dump-database.ts";
import { type PostgresTools, runPgRestore } from "./postgres-tools.ts";
import { type OpenDump, openDump } from "./read-dump.ts";
import { listFilledTables, listTables } from "./tables.ts";

/*
 * Brings a dump back, of either kind, into a database without rows. What fails changes nothing: rows come in one
 * transaction, under the same locks that keep servers out.
 */

/** Open players and dashboards ignore what is older than what they have seen: what comes now is newer than that. */
const VERSIONS_AHEAD = 1_000_000_000;
const ARCHIVE_MAGIC = "PGDMP";
const GZIP_MAGIC = "\u001f\u008b";

export interface RestoreOptions {
  directUrl: string;
  input: Readable;
  /** Whether what is there goes. */
  force: boolean;
  /** Finds pg_restore; called where the dump is pg_dump's. @throws where there is none */
  findTools: () => Promise<PostgresTools>;
  logger: Logger;
}

export type Restored = { by: "pg_restore"; version: string } | { by: "playhead"; tables: number; rows: number };

/**
 * Restores, and migrates what the dump lacks.
 * @throws AppError `conflict` where the database has rows (and `force` is not given), is used, or has other tables
 */
export async function restoreDatabase(options: RestoreOptions): Promise<Restored> {
  const { directUrl, input, logger } = options;
  const kind = await lookAtKind(input);
  const restored = kind === "archive" ? await restoreArchive(options) : await restoreRows(options);
  await migrate({ connectionString: directUrl, logger });
  await withClient(directUrl, async (client) => {
    // Without it the first queries are planned for empty tables.
    await client.query("ANALYZE");
  });
  return restored;
}

async function lookAtKind(input: Readable): Promise<"archive" | "rows"> {
  try {
    if (input.readableLength === 0) await once(input, "readable"); // at an end without anything, too
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

async function restoreArchive({ directUrl, input, force, findTools }: RestoreOptions): Promise<Restored> {
  const tools = await findTools();
  const clean = await withClient(directUrl, async (client) => {
    await assertUnused(client);
    if (!force) await assertEmpty(client);
    return (await readApplied(client, "schema_migrations")).size > 0;
  });
  // The archive brings its own tables; triggers are made after the rows are there.
  await runPgRestore(tools, directUrl, { input, clean });
  await withClient(directUrl, tellOthers);
  return { by: "pg_restore", version: tools.version };
}

async function restoreRows({ directUrl, input, force, logger }: RestoreOptions): Promise<Restored> {
  const dump = await openDump(input.pipe(forwardErrors(input)));
  const { migrations } = dump.header;
  const known = Object.fromEntries((await readSchemaFiles()).migrations.map(({ name, sha256 }) => [name, sha256]));
  const unknown = differentNames(migrations, known).filter((name) => name in migrations);
  if (unknown.length > 0) {
    throw new AppError(
      "conflict",
      `Another version of Playhead made this dump: this version has no such migration ${unknown.join(", ")}.`,
    );
  }
  return await withClient(directUrl, async (client) => {
    await assertUnused(client);
    if ((await readApplied(client, "schema_migrations")).size === 0) {
      await migrate({ connectionString: directUrl, logger, only: Object.keys(migrations) });
    }
    await assertSameMigrations(client, dump);
    await client.query("BEGIN");
    try {
      const rows = await fill(client, dump, force);
      const { command } = await client.query("COMMIT");
      if (command !== "COMMIT") throw new Error("The restore was rolled back");
      return {
        by: "playhead",
        tables: Object.keys(rows).length,
        rows: Object.values(rows).reduce((a, b) => a + b, 0),
      } as const;
    } catch (error) {
      // A connection that broke has rolled back by itself.
      await client.query("ROLLBACK").catch(() => undefined);
      throw error;
    }
  });
}

function forwardErrors(input: Readable) {
  const gunzip = createGunzip();
  input.once("error", (error) => gunzip.destroy(error));
  return gunzip;
}

async function fill(client: pg.Client, dump: OpenDump, force: boolean): Promise<Record<string, number>> {
  const tables = (await listTables(client)).map(({ name }) => client.escapeIdentifier(name));
  // Locks every table against whoever writes; and TRUNCATE is refused by triggers.
  for (const table of tables) await client.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`);
  if (!force) await assertEmpty(client);
  if (tables.length > 0) await client.query(`TRUNCATE ${tables.join(", ")}`);
  const rows = await dump.run(client);
  await tellOthers(client);
  return rows;
}

/** Who has seen what was there before has to learn that it is another state now. */
async function tellOthers(client: pg.Client): Promise<void> {
  await client.query("SELECT setval('progress_version', nextval('progress_version') + $1)", [VERSIONS_AHEAD]);
  const { rows } = await client.query<{ there: boolean }>("SELECT to_regclass('mirror') IS NOT NULL AS there");
  // The mirror takes another table than it followed last for what it is: a restored one, to be compared as a whole.
  if (rows[0]?.there) await client.query("UPDATE mirror SET table_oid = 0");
}

/** Servers hold in memory what they have read, and would write on in between. */
async function assertUnused(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT DISTINCT application_name AS name FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'playhead%'
       AND application_name <> '${DUMP_APPLICATION}' ORDER BY 1`,
  );
  if (rows.length === 0) return;
  const names = rows.map((row) => row.name).join(", ");
  throw new AppError("conflict", `Playhead is connected to this database (${names}): stop every server first.`);
}

async function assertEmpty(client: pg.Client): Promise<void> {
  const filled = await listFilledTables(client, await listTables(client));
  if (filled.length === 0) return;
  throw new AppError(
    "conflict",
    `The database has rows already, in ${filled.join(", ")}. Restore into an empty one, or give --force: then they go.`,
  );
}

async function assertSameMigrations(client: pg.Client, { header }: OpenDump): Promise<void> {
  const applied = Object.fromEntries(await readApplied(client, "schema_migrations"));
  const different = differentNames(header.migrations, applied);
  if (different.length === 0) return;
  throw new AppError(
    "conflict",
    `The dump and this database have had different migrations: ${different.join(", ")}. Restore into a new database ` +
      "without tables: Playhead makes them as the dump needs them, fills them, and then brings them up to date.",
  );
}

/** Names that only one of the two has, or both with another text. */
function differentNames(a: Record<string, string>, b: Record<string, string>): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => a[name] !== b[name]).sort();
}
