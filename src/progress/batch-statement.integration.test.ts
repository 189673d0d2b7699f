import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { BATCH_STATEMENT } from "./batch-statement.ts";

/*
 * The plan of the batch is made once a connection, at a first start with empty tables, and kept while they grow.
 */

interface PlanNode {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Cond"?: string;
  Plans?: PlanNode[];
}

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

function* nodesOf(node: PlanNode): Iterable<PlanNode> {
  yield node;
  for (const child of node.Plans ?? []) yield* nodesOf(child);
}

it("looks up every file and every row by its whole key, also where it was planned for empty tables", async () => {
  await database.query("ANALYZE");
  const client = await database.pool.connect();
  try {
    await client.query("BEGIN");
    await client.query("SELECT lock_writers('batch', '{}', '{}')");
    const { rows } = await client.query(`EXPLAIN (GENERIC_PLAN, FORMAT JSON) ${BATCH_STATEMENT}`);
    await client.query("ROLLBACK");
    const scans = [...nodesOf(rows[0]["QUERY PLAN"][0].Plan)].filter(
      (node) => /Scan$/.test(node["Node Type"]) && node["Relation Name"],
    );
    const lookUps = scans.map((node) => [
      node["Relation Name"],
      node["Node Type"],
      node["Index Cond"]?.replace(/::text/g, ""),
    ]);
    expect(lookUps).toEqual([
      ["files", "Index Scan", "(id = b.file_id)"],
      [
        "user_progress",
        "Index Scan",
        expect.stringMatching(/user_id = b\.user_id.*file_id = b\.file_id|file_id = b\.file_id.*user_id = b\.user_id/),
      ],
    ]);
  } finally {
    client.release();
  }
});
