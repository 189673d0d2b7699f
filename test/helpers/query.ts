import pg from "pg";
import { TYPES } from "../../src/db/pool.ts";

/** Runs one statement and gives its rows. */
export type Query = <Row extends object>(sql: string, params?: unknown[]) => Promise<Row[]>;

/** Runs each statement on a connection of its own: the database may have been away since the last one. */
export function queryOf(url: string): Query {
  return (sql, params) => withClient(url, (query) => query(sql, params));
}

/** Does the work in one transaction on a connection of its own. Rows that it locks stay locked until it resolves. */
export async function withTransaction(url: string, work: (query: Query) => Promise<void>): Promise<void> {
  await withClient(url, async (query) => {
    await query("BEGIN");
    await work(query);
    await query("COMMIT");
  });
}

async function withClient<T>(url: string, work: (query: Query) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, types: TYPES });
  client.on("error", () => undefined); // the statement under way fails with it
  await client.connect();
  try {
    return await work(async <Row extends object>(sql: string, params: unknown[] = []) => {
      return (await client.query<Row & pg.QueryResultRow>(sql, params)).rows;
    });
  } finally {
    await client.end();
  }
}
