import pg from "pg";
import { migrate } from "../../src/db/migrate.ts";
import { createLogger } from "../../src/logger.ts";
import { startTestPostgres, type TestPostgres } from "./postgres.ts";

export const TEMPLATE = "playhead_template";

/**
 * A PostgreSQL with a migrated template, which `createTestDatabase({ server })` clones. All databases of one PostgreSQL
 * share its transactions: what waits for those of others to end wants one of its own.
 */
export async function startTemplatePostgres(): Promise<TestPostgres> {
  const postgres = await startTestPostgres();
  try {
    const client = new pg.Client({ connectionString: postgres.url });
    await client.connect();
    await client.query(`create database ${TEMPLATE}`);
    await client.end();
    await migrate({ connectionString: postgres.urlOf(TEMPLATE), logger: createLogger({ level: "warn" }) });
    return postgres;
  } catch (error) {
    await postgres.stop();
    throw error;
  }
}
