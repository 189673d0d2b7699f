import pg from "pg";
import { toCourseId } from "./catalogue.ts";
import type { PlayheadServer } from "./playhead-server.ts";

/** Opens a connection, and closes it after the use. */
export async function withClient<T>(connectionString: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString, application_name: "loadtest" });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** Makes an empty database in the same PostgreSQL. @returns its address */
export async function createDatabase(url: string, name: string): Promise<string> {
  await withClient(url, (client) => client.query(`CREATE DATABASE ${name}`));
  return url.replace(/[^/]+$/, name);
}

/** Drops a database although connections to it are open. */
export async function dropDatabase(url: string, name: string): Promise<void> {
  await withClient(url, (client) => client.query(`DROP DATABASE ${name} WITH (FORCE)`));
}

/** The state of a server's database after a load. */
export type Aftermath = Awaited<ReturnType<typeof readAftermath>>;

export async function readAftermath(server: PlayheadServer, courses: number) {
  const statement = `SELECT (SELECT sum(deadlocks) FROM pg_stat_database)::integer AS deadlocks,
    (SELECT count(*) FROM unnest($1::text[]) AS id CROSS JOIN LATERAL playhead_check_course(id))::integer AS sums`;
  const ids = Array.from({ length: courses }, (_, course) => toCourseId(course));
  const { rows } = await withClient(server.databaseUrl, (client) =>
    client.query<{ deadlocks: number; sums: number }>(statement, [ids]),
  );
  return {
    deadlocks: rows[0]?.deadlocks ?? Number.NaN,
    /** Stored sums that differ from a recount. */
    wrongSums: rows[0]?.sums ?? Number.NaN,
    /** Played time that the budget of watching did not credit. */
    budgetCutMs: (await server.readMetrics()).get("playhead_budget_cut_ms_total") ?? 0,
  };
}
