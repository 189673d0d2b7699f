import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createLogger } from "../logger.ts";
import { observeStatements } from "./observe-statements.ts";
import { createPool, type Pool, withTransaction } from "./pool.ts";

let database: TestDatabase;
let pool: Pool;
let seen: number[];

beforeAll(async () => {
  database = await createTestDatabase();
  pool = createPool({
    connectionString: database.url,
    max: 2,
    queryTimeoutMs: 0,
    applicationName: "test-observed",
    logger: createLogger({ level: "silent" }),
  });
  observeStatements(pool, (seconds) => seen.push(seconds));
});
beforeEach(() => {
  seen = [];
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

it("reports the duration of a statement, and returns its result", async () => {
  const { rows } = await pool.query("SELECT pg_sleep(0.05), $1::int AS number", [7]);
  expect(rows).toEqual([{ pg_sleep: "", number: 7 }]);
  expect(seen).toHaveLength(1);
  expect(seen[0]).toBeGreaterThan(0.049);
  expect(seen[0]).toBeLessThan(49); // seconds, not milliseconds
});

it("reports every statement of a transaction, named statements too", async () => {
  await withTransaction(pool, (client) => client.query({ name: "one", text: "SELECT $1::text", values: ["a"] }));
  expect(seen).toHaveLength(3);
});

it("reports a statement that fails, and passes its error on", async () => {
  await expect(pool.query("SELECT 1/0")).rejects.toMatchObject({ code: "22012" });
  await expect(withTransaction(pool, (client) => client.query("nonsense"))).rejects.toMatchObject({ code: "42601" });
  expect(seen).toHaveLength(4);
});
