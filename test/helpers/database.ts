import { randomUUID } from "node:crypto";
import type { QueryResultRow } from "pg";
import { inject } from "vitest";
import { createPool, type Pool } from "../../src/db/pool.ts";
import { createLogger } from "../../src/logger.ts";
import { TEMPLATE } from "./data-folder.ts";
import type {} from "./provided.ts";
import { queryOf } from "./query.ts";
import { waitFor } from "./wait-for.ts";

/** How long connections may take to end: a test may have ended its pool without waiting for it. */
const GOODBYE_MS = 3000;

/** A database that belongs to one test file. */
export interface TestDatabase {
  url: string;
  /** The connections of the test itself, which the tested part may share. `drop` ends them. */
  pool: Pool;
  query<Row extends QueryResultRow = QueryResultRow>(sql: string, params?: unknown[]): Promise<Row[]>;
  /** Removes the database. @throws Error that lists the connections that the test left open */
  drop(): Promise<void>;
}

/**
 * Makes a migrated, empty database: a clone of the template. Call `drop` in `afterAll`. `migrated: false` leaves out the
 * tables. `server` is the URL of another PostgreSQL than the one that all tests share.
 */
export async function createTestDatabase(
  options: { migrated?: boolean; poolSize?: number; server?: string } = {},
): Promise<TestDatabase> {
  const server = options.server ?? inject("postgresUrl");
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  await queryOf(server)(`create database ${name} template ${options.migrated === false ? "template0" : TEMPLATE}`);
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
    async query<Row extends QueryResultRow>(sql: string, params: unknown[] = []) {
      return (await pool.query<Row>(sql, params)).rows;
    },
    async drop() {
      const held = pool.totalCount - pool.idleCount;
      const ended = pool.ended ? Promise.resolve() : pool.end();
      if (held === 0) {
        await ended;
      }
      const left = await findLeftConnections(server, name);
      await queryOf(server)(`drop database if exists ${name} with (force)`);
      await ended;
      if (left.length > 0) {
        throw new Error(`Connections to the test database were left open:\n${left.join("\n")}`);
      }
    },
  };
}

async function findLeftConnections(server: string, name: string): Promise<string[]> {
  const list = () =>
    queryOf(server)<{ connection: string }>(
      `select application_name || ' (' || coalesce(state, '') || '): ' || left(query, 200) as connection
       from pg_stat_activity where datname = '${name}' and backend_type = 'client backend'`,
    );
  await waitFor(async () => (await list()).length === 0, { what: "connections to end", timeoutMs: GOODBYE_MS }).catch(
    () => undefined,
  );
  return (await list()).map((row) => row.connection);
}
