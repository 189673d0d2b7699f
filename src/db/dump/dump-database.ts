import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import pg from "pg";
import { assertServerVersion } from "../migrate.ts";
import { type PostgresTools, runPgDump } from "./postgres-tools.ts";
import { writeDump } from "./write-dump.ts";

/** As what it is seen in `pg_stat_activity`. */
export const DUMP_APPLICATION = "playhead-dump";

/** What was dumped, and by what. */
export type Dumped = { by: "pg_dump"; version: string } | { by: "playhead"; tables: number; rows: number };

export interface DumpSource {
  /** A connection that keeps its session. */
  directUrl: string;
}

/** The server's major version. @throws AppError `unavailable` where it is too old for Playhead */
export async function readServerMajor({ directUrl }: DumpSource): Promise<number> {
  return await withClient(directUrl, async (client) => Number.parseInt(await assertServerVersion(client), 10));
}

/** Writes all there is, as of one moment. Servers go on meanwhile. */
export async function dumpDatabase(
  { directUrl }: DumpSource,
  { output, tools }: { output: Writable; tools: PostgresTools | null },
): Promise<Dumped> {
  if (tools !== null) {
    await runPgDump(tools, directUrl, output);
    return { by: "pg_dump", version: tools.version };
  }
  return await withClient(directUrl, async (client) => {
    const rows = new Map<string, number>();
    await pipeline(Readable.from(writeDump(client, rows)), createGzip(), output);
    return { by: "playhead", tables: rows.size, rows: [...rows.values()].reduce((sum, count) => sum + count, 0) };
  });
}

/** A connection without limits: a dump takes as long as it takes. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    application_name: DUMP_APPLICATION,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
  });
  client.on("error", () => {
    // The query under way fails with it.
  });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
