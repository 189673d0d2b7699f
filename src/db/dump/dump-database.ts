import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import pg from "pg";
import { assertServerVersion } from "../migrate.ts";
import { type PostgresTools, runPgDump } from "./postgres-tools.ts";
import { writeDump } from "./write-dump.ts";

/** The name of dumps and restores in `pg_stat_activity`. */
export const DUMP_APPLICATION = "playhead-dump";

/** Which program made a dump or restored one, and how much. */
export type DumpResult =
  | { by: "pg_dump" | "pg_restore"; version: string }
  | { by: "playhead"; tables: number; rows: number };

export interface DumpSource {
  /** A connection that keeps its session. */
  directUrl: string;
}

/** The server's major version. @throws AppError `unavailable` where it is too old for Playhead */
export async function readServerMajor({ directUrl }: DumpSource): Promise<number> {
  return await withClient(directUrl, async (client) => Number.parseInt(await assertServerVersion(client), 10));
}

/**
 * Writes the whole database as of one moment, while servers go on working.
 * @param tools null where no pg_dump fits: then Playhead writes its own format
 */
export async function dumpDatabase(
  { directUrl }: DumpSource,
  { output, tools }: { output: Writable; tools: PostgresTools | null },
): Promise<DumpResult> {
  if (tools !== null) {
    await runPgDump(tools, directUrl, output);
    return { by: "pg_dump", version: tools.version };
  }
  return await withClient(directUrl, async (client) => {
    const rows = new Map<string, number>();
    await pipeline(Readable.from(writeDump(client, rows)), createGzip(), output);
    return toResult(Object.fromEntries(rows));
  });
}

/** The result for these numbers of rows by table. */
export function toResult(rows: Record<string, number>): DumpResult {
  const counts = Object.values(rows);
  return { by: "playhead", tables: counts.length, rows: counts.reduce((sum, count) => sum + count, 0) };
}

/** Runs the work on a connection without time limits: a dump of a large database takes long. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    application_name: DUMP_APPLICATION,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
  });
  client.on("error", () => {
    // The query under way fails with the same error.
  });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
