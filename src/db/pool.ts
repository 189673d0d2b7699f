import pg from "pg";
import type { Logger } from "../logger.ts";
import { AbandonedCommits } from "./abandoned-commits.ts";
import { confirmCommit } from "./commit.ts";
import { isConnectionError } from "./sqlstate.ts";

/*
 * Opens pools of connections to PostgreSQL. It adds two things that `pg` does not do by default: an error handler for
 * every connection (without one, a connection that breaks ends the process), and a limit for every wait.
 */

export type Pool = pg.Pool;
export type PoolClient = pg.PoolClient;

/** How long a caller waits for a connection, be it for a new one or for a busy one. */
const CONNECT_TIMEOUT_MS = 5000;
/**
 * PostgreSQL ends an idle transaction after this time: a process that hangs in one keeps its locks and stops the
 * mirror.
 */
const IDLE_IN_TRANSACTION_MS = 10_000;
/** The client waits so much longer than the server, so no statement goes on when nobody waits for it. */
const CLIENT_GRACE_MS = 500;

export interface PoolOptions {
  connectionString: string;
  max: number;
  /** The limit for one statement; 0 sets none. */
  queryTimeoutMs: number;
  applicationName: string;
  logger: Logger;
  /** Checks every new connection before anybody gets it. Where it throws, the connection is closed. */
  admit?: (client: pg.ClientBase) => Promise<void>;
  /** Knows the connections that were given up, where several pools share that knowledge. */
  abandoned?: AbandonedCommits;
  /** More options of `pg.Pool`. */
  options?: Partial<pg.PoolConfig>;
}

const INT8 = 20;
const INT8_ARRAY = 1016;

/** Makes a connection read `bigint` as number: the values of Playhead stay far below 2^53. */
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

const BEGIN = "begin";
/**
 * The transaction has an id and a message in the WAL, so its COMMIT waits for the synchronous standby also where it finds
 * nothing to do: what it finds done may be of an earlier try whose commit the standby does not have yet. The id is asked
 * for first, because a standby refuses that as 25006.
 */
const BEGIN_TO_WRITE = "begin; select pg_current_xact_id(); select pg_logical_emit_message(true, 'playhead', ''::text)";

const ABANDONED = new WeakMap<Pool, AbandonedCommits>();

/**
 * Makes a pool, which opens its connections when they are needed. `timestamptz` is read as Date, `bigint` as number,
 * `numeric` as text.
 */
export function createPool(given: PoolOptions): Pool {
  const {
    connectionString,
    max,
    queryTimeoutMs,
    applicationName,
    logger,
    admit,
    abandoned = new AbandonedCommits(),
    options,
  } = given;
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
    ...(admit === undefined ? {} : { onConnect: admit }),
    ...options,
  });
  // An idle connection broke. The pool has dropped it, and opens another when one is needed.
  pool.on("error", (error) => {
    // While the pool is being closed, the database may be stopping too: no reason to warn.
    logger[pool.ending ? "debug" : "warn"]({ err: error, applicationName }, "an idle database connection broke");
  });
  // The pool listens to idle connections only. When a busy connection breaks, its query fails too.
  pool.on("connect", (client) => {
    client.on("error", (error) => logger.debug({ err: error, applicationName }, "a database connection broke"));
  });
  pool.on("release", (error, client) => {
    if (isConnectionError(error)) abandoned.abandon(client);
  });
  ABANDONED.set(pool, abandoned);
  return pool;
}

/**
 * Runs the work in one transaction on a connection of the pool, and resolves after COMMIT.
 * @param options.writes false where the work only reads: then no commit waits for a standby
 * @throws the error of the work, after ROLLBACK; UnconfirmedCommit; StandbyAway while an earlier commit waits for the
 * synchronous standby; a COMMIT that PostgreSQL turned into a rollback throws too
 */
export async function withTransaction<T>(
  pool: Pool,
  work: (client: PoolClient) => Promise<T>,
  { writes = true }: { writes?: boolean } = {},
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onBroken = (error: Error) => {
    broken = error;
  };
  try {
    if (writes) await ABANDONED.get(pool)?.assertNone(client);
    return await inTransaction(client, () => work(client), onBroken, writes ? BEGIN_TO_WRITE : BEGIN);
  } finally {
    // A connection in an unknown state is closed rather than handed to the next caller.
    client.release(broken);
  }
}

/** Runs one statement that writes, in a transaction by itself. @throws what `withTransaction` throws */
export function write<Row extends pg.QueryResultRow>(
  pool: Pool,
  sql: string,
  values: unknown[] = [],
): Promise<pg.QueryResult<Row>> {
  return withTransaction(pool, (client) => client.query<Row>(sql, values));
}

/**
 * Runs the work in one transaction on the caller's connection, as `withTransaction` does.
 * @param onBroken hears why the connection can no longer be used
 */
export async function inTransaction<T>(
  client: pg.ClientBase,
  work: () => Promise<T>,
  onBroken: (error: Error) => void = () => undefined,
  begin = BEGIN,
): Promise<T> {
  try {
    await client.query(begin);
    const result = await work();
    const { command } = await confirmCommit(client, () => client.query("commit"));
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
