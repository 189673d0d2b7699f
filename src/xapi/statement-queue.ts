import { type Pool, withTransaction } from "../db/pool.ts";
import { STATEMENT_COLUMNS, type StatementRow } from "./statement.ts";

/*
 * Statements on their way to the learning record store, in the order of their learners.
 */

export interface StatementQueue {
  /** The first statements that wait. */
  first(limit: number): Promise<StatementRow[]>;
  /** What may be sent before this statement, the first that waits: another learner's first one, else the learner's next. */
  another(statement: StatementRow): Promise<StatementRow | null>;
  /** The store has them. */
  taken(statements: readonly StatementRow[]): Promise<void>;
  /** Puts a statement aside: the others go on without it. */
  putAside(statement: StatementRow, error: string): Promise<void>;
}

const WAITING = "FROM xapi_queue AS q JOIN xapi_statements AS s ON s.seq = q.seq WHERE q.refused_at IS NULL";

export function createStatementQueue({ pool }: { pool: Pool }): StatementQueue {
  /** In a transaction: it refuses while an earlier commit waits for a standby, so that such commits do not pile up. */
  const write = (sql: string, parameters: unknown[]) =>
    withTransaction(pool, async (client) => void (await client.query(sql, parameters)));

  return {
    async first(limit) {
      const { rows } = await pool.query<StatementRow>(
        `SELECT ${STATEMENT_COLUMNS} ${WAITING} ORDER BY q.seq LIMIT $1`,
        [limit],
      );
      return rows;
    },

    async another({ seq, userId }) {
      const { rows } = await pool.query<StatementRow>(
        `(SELECT ${STATEMENT_COLUMNS}, 1 AS rank ${WAITING} AND s.user_id <> $2 ORDER BY q.seq LIMIT 1)
         UNION ALL (SELECT ${STATEMENT_COLUMNS}, 2 ${WAITING} AND q.seq > $1 ORDER BY q.seq LIMIT 1)
         ORDER BY rank LIMIT 1`,
        [seq, userId],
      );
      return rows[0] ?? null;
    },

    taken: (statements) =>
      write("DELETE FROM xapi_queue WHERE seq = ANY($1::bigint[])", [statements.map(({ seq }) => seq)]),

    putAside: ({ seq }, error) =>
      write("UPDATE xapi_queue SET refused_at = now(), error = $2 WHERE seq = $1", [seq, error]),
  };
}
