import { randomUUID } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";
import { createPool, type Pool, TYPES } from "../../src/db/pool.ts";
import { createLogger } from "../../src/logger.ts";
import { TEMPLATE } from "./data-folder.ts";
import type {} from "./provided.ts";
import { waitFor } from "./wait-for.ts";

/** For a pool that was ended without being awaited. */
const GOODBYE_MS = 3000;

/** A migrated, empty database of a test file's own. */
export interface TestDatabase {
  url: string;
  /** Of the test itself; ended by `drop`. What is under test gets its own, or this one. */
  pool: Pool;
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(sql: string, params?: unknown[]): Promise<Row[]>;
  /** @throws Error naming connections that were left open: whoever opened one closes it. */
  drop(): Promise<void>;
}

/**
 * Clones the migrated template. In `beforeAll`; `afterAll(() => database.drop())`.
 * `migrated: false` gives an empty database without tables; `server` is another PostgreSQL than the run's.
 */
export async function createTestDatabase(
  options: { migrated?: boolean; poolSize?: number; server?: string } = {},
): Promise<TestDatabase> {
  const server = options.server ?? inject("postgresUrl");
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  await runOnce(server, `create database ${name} template ${options.migrated === false ? "template0" : TEMPLATE}`);
  const url = server.replace(/[^/]+$/, name);
  const pool = createPool({
    connectionString: url,
    max: options.poolSize ?? 10,
    queryTimeoutMs: 60_000,
    applicationName: "test",
    logger: createLogger({ level: "error" }),
    // As the writer's pool has it.
    options: { pipeline: true },
  });
  return {
    url,
    pool,
    async query<Row extends pg.QueryResultRow>(sql: string, params: unknown[] = []) {
      return (await pool.query<Row>(sql, params)).rows;
    },
    async drop() {
      const held = pool.totalCount - pool.idleCount;
      const ended = pool.ended ? Promise.resolve() : pool.end();
      if (held === 0) {
        await ended;
      }
      const left = await findLeftConnections(server, name);
      await runOnce(server, `drop database if exists ${name} with (force)`);
      await ended;
      if (left.length > 0) {
        throw new Error(`Connections to the test database were left open:\n${left.join("\n")}`);
      }
    },
  };
}

async function findLeftConnections(server: string, name: string): Promise<string[]> {
  const list = () =>
    runOnce(
      server,
      `select application_name || ' (' || coalesce(state, '') || '): ' || left(query, 200) as connection
       from pg_stat_activity where datname = '${name}' and backend_type = 'client backend'`,
    );
  await waitFor(async () => (await list()).length === 0, { what: "connections to end", timeoutMs: GOODBYE_MS }).catch(
    () => undefined,
  );
  return (await list()).map((row) => String(row.connection));
}

async function runOnce(url: string, sql: string): Promise<pg.QueryResultRow[]> {
  const client = new pg.Client({ connectionString: url, types: TYPES });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
