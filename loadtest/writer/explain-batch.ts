import type { PoolClient } from "../../src/db/pool.ts";
import type { SeenQuery } from "./timed-pool.ts";

/** EXPLAIN ANALYZE of a prepared statement as it is executed, with the time of each trigger; its effects are undone. */
export async function explainExecute(client: PoolClient, { text, values = [] }: SeenQuery): Promise<string> {
  await client.query("SAVEPOINT explained");
  await client.query(`PREPARE explained AS ${text}`);
  const { rows } = await client.query<{ "QUERY PLAN": string }>(
    `EXPLAIN (ANALYZE, BUFFERS, TIMING ON) EXECUTE explained (${values.map(toLiteral).join(", ")})`,
  );
  await client.query("ROLLBACK TO SAVEPOINT explained");
  await client.query("DEALLOCATE explained");
  return rows.map((row) => row["QUERY PLAN"]).join("\n");
}

function toLiteral(value: unknown): string {
  if (value === null || value === undefined) return "NULL";
  if (Array.isArray(value)) return quote(`{${value.map(toElement).join(",")}}`);
  return quote(String(value));
}

function toElement(value: unknown): string {
  if (value === null || value === undefined) return "NULL";
  return `"${String(value).replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
