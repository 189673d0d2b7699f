import pg from "pg";
import type { Logger } from "../logger.ts";
import { isConnectionError } from "./sqlstate.ts";

/*
 * Connections to PostgreSQL with what `pg` leaves out by default: an error handler everywhere (an idle or a
 * checked-out connection that breaks would end the process), and a limit on every wait.
 */

export type Pool = pg.Pool;
export type PoolClient = pg.PoolClient;

/** How long a caller waits for a connection: a new one, or a busy one to come back. */
const CONNECT_TIMEOUT_MS = 5000;
/** A process that freezes within a transaction keeps its locks, and holds back the mirror, for so long at the most. */
const IDLE_IN_TRANSACTION_MS = 10_000;
/** The server gives up first, so that its statement does not go on after we have stopped waiting. */
const CLIENT_GRACE_MS = 500;

export interface PoolOptions {
  connectionString: string;
  max: number;
  /** 0 sets no limit. */
  queryTimeoutMs: number;
  applicationName: string;
  logger: Logger;
  /** Whatever else `pg.Pool` takes. */
  options?: Partial<pg.PoolConfig>;
}

const INT8 = 20;
const INT8_ARRAY = 1016;

/** Reads `bigint` as a number: what is counted here stays far below 2^53. Only for connections that name it. */
export const TYPES: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text" | "binary") => {
    if (format !== "binary" && oid === INT8) {
      return parseInt8;
    }
    const parse = pg.types.getTypeParser(oid, format as "text");
    if (format !== "binary" && oid === INT8_ARRAY) {
      return (text: string) =>
        (parse(text) as (string | null)[]).map((item) => (item === null ? null : parseInt8(item)));
    }
    return parse;
  }) as typeof pg.types.getTypeParser,
};

function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) {
    throw new RangeError(`The bigint ${text} does not fit a JavaScript number`);
  }
  return value;
}

/** Opens no connection yet. `timestamptz` comes as Date, `bigint` as number, `numeric` as text. */
export function createPool(given: PoolOptions): Pool {
  const { connectionString, max, queryTimeoutMs, applicationName, logger, options } = given;
  const limits =
    queryTimeoutMs > 0
      ? {
          statement_timeout: queryTimeoutMs,
          query_timeout: queryTimeoutMs + CLIENT_GRACE_MS,
          idle_in_transaction_session_timeout: Math.max(IDLE_IN_TRANSACTION_MS, queryTimeoutMs),
        }
      : {};
  const pool = new pg.Pool({
    connectionString,
    max,
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    types: TYPES,
    ...limits,
    ...options,
  });
  // An idle connection that breaks: the pool drops it and opens another when one is needed.
  pool.on("error", (error) => {
    // One that is being closed may meet a database that stops as well.
    logger[pool.ending ? "debug" : "warn"]({ err: error, applicationName }, "an idle database connection broke");
  });
  // The pool listens to idle connections only; a checked-out one that breaks fails its query as well.
  pool.on("connect", (client) => {
    client.on("error", (error) => logger.debug({ err: error, applicationName }, "a database connection broke"));
  });
  return pool;
}

/**
 * Runs the work in one transaction on a connection of the pool, and resolves after COMMIT.
 * @throws the error of the work, after ROLLBACK; a COMMIT that PostgreSQL turned into a rollback throws too
 */
export async function withTransaction<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onBroken = (error: Error) => {
    broken = error;
  };
  try {
    return await inTransaction(client, () => work(client), onBroken);
  } finally {
    // A connection in an unknown state is closed rather than handed to the next caller.
    client.release(broken);
  }
}

/**
 * Runs the work in one transaction on the caller's connection, as `withTransaction` does.
 * @param onBroken hears why the connection can no longer be used
 */
export async function inTransaction<T>(
  client: pg.ClientBase,
  work: () => Promise<T>,
  onBroken: (error: Error) => void = () => undefined,
): Promise<T> {
  try {
    await client.query("begin");
    const result = await work();
    const { command } = await client.query("commit");
    if (command === "ROLLBACK") {
      throw new Error("The transaction was rolled back: a statement in it had failed, and its error was not passed on");
    }
    return result;
  } catch (error) {
    if (isConnectionError(error)) onBroken(error as Error);
    else await client.query("rollback").catch(onBroken);
    throw error;
  }
}
