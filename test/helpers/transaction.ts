import pg from "pg";
import { TYPES } from "../../src/db/pool.ts";
import type { Query } from "./oracle.ts";

/** Runs the work in one transaction on a connection of its own: what it locks stays locked until it resolves. */
export async function withTransaction(url: string, work: (query: Query) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, types: TYPES });
  await client.connect();
  try {
    await client.query("BEGIN");
    await work(async <Row extends object>(sql: string, params: unknown[] = []) => {
      return (await client.query<Row & pg.QueryResultRow>(sql, params)).rows;
    });
    await client.query("COMMIT");
  } finally {
    await client.end();
  }
}
