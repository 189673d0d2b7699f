import type { Pool } from "../db/pool.ts";
import { AppError } from "../errors.ts";
import { type RefusedStatements, XAPI_VERBS, type XapiQuestion, type XapiStatement } from "../protocol/xapi.ts";
import { type Names, STATEMENT_COLUMNS, type StatementRow, toFileId, toStatement } from "./statement.ts";

/*
 * The statements that Playhead has written, page by page, and those that the learning record store has refused.
 */

export interface StatementPage {
  statements: XapiStatement[];
  /** The cursor of the next page; null on the last. */
  cursor: string | null;
}

export interface StatementStore {
  list(question: XapiQuestion): Promise<StatementPage>;
  /** Those that the record store has refused, the newest first, from the one after `before`. */
  refused(page: { before?: string | undefined; limit: number }): Promise<RefusedStatements>;
  /** Sends refused statements again: one, or all. @returns how many @throws AppError `not_found` for one that is not refused */
  retry(statementId?: string): Promise<number>;
}

const MOST = 500;

export function createStatementStore({ pool }: { pool: Pool }, names: Names): StatementStore {
  return {
    async list(question) {
      const limit = question.limit === 0 ? MOST : question.limit;
      const parameters: unknown[] = [];
      const filters = filtersOf(question, names, parameters);
      if (filters === null) return { statements: [], cursor: null };
      const [order, beyond] = question.ascending === true ? ["ASC", ">"] : ["DESC", "<"];
      if (question.cursor !== undefined) {
        const [stored, seq] = question.cursor.split("_");
        filters.push(
          `(s.stored, s.seq) ${beyond} (${add(parameters, stored)}::timestamptz, ${add(parameters, seq)}::bigint)`,
        );
      }
      const { rows } = await pool.query<StatementRow>(
        `SELECT ${STATEMENT_COLUMNS} FROM xapi_statements AS s ${filters.length === 0 ? "" : `WHERE ${filters.join(" AND ")}`}
         ORDER BY s.stored ${order}, s.seq ${order} LIMIT ${limit + 1}`,
        parameters,
      );
      const last = rows[limit - 1];
      return {
        statements: rows
          .slice(0, limit)
          .map((row) => ({ ...toStatement(row, names), stored: row.stored.toISOString() })),
        cursor: rows.length <= limit || last === undefined ? null : `${last.stored.toISOString()}_${last.seq}`,
      };
    },

    async refused({ before, limit }) {
      const { rows } = await pool.query<StatementRow & { refusedAt: Date; error: string }>(
        `SELECT ${STATEMENT_COLUMNS}, q.refused_at AS "refusedAt", q.error
         FROM xapi_queue AS q JOIN xapi_statements AS s ON s.seq = q.seq
         WHERE q.refused_at IS NOT NULL AND ($1::bigint IS NULL OR q.seq < $1) ORDER BY q.seq DESC LIMIT $2`,
        [before ?? null, limit + 1],
      );
      const refused = rows.slice(0, limit).map((row) => ({
        statement: toStatement(row, names),
        refusedAt: row.refusedAt.toISOString(),
        error: row.error,
      }));
      const last = rows[limit - 1];
      return rows.length > limit && last !== undefined ? { refused, next: last.seq } : { refused };
    },

    async retry(statementId) {
      const { rowCount } = await pool.query(
        `UPDATE xapi_queue SET refused_at = NULL, error = NULL WHERE refused_at IS NOT NULL
         AND ($1::uuid IS NULL OR seq = (SELECT s.seq FROM xapi_statements AS s WHERE s.id = $1))`,
        [statementId ?? null],
      );
      if (statementId !== undefined && rowCount === 0)
        throw new AppError("not_found", "No statement of this id was refused.");
      return rowCount ?? 0;
    },
  };
}

/** The conditions of the question, whose values go into `parameters`; null where nothing can meet them. */
function filtersOf(question: XapiQuestion, names: Names, parameters: unknown[]): string[] | null {
  const { statementId, agent, verb, activity, since, until } = question;
  const filters: string[] = [];
  if (statementId !== undefined) filters.push(`s.id = ${add(parameters, statementId)}`);
  if (agent !== undefined) {
    if (agent.name === "" || (agent.homePage !== null && agent.homePage !== names.homePage)) return null;
    filters.push(`s.user_id = ${add(parameters, agent.name)}`);
  }
  if (verb !== undefined) {
    const known = Object.entries(XAPI_VERBS).find(([name, id]) => verb === id || verb === name)?.[0];
    if (known === undefined) return null;
    filters.push(`s.verb = ${add(parameters, known)}`);
  }
  if (activity !== undefined) {
    const fileId = toFileId(names, activity);
    if (fileId === null || fileId.includes("\u0000")) return null;
    filters.push(`s.file_id = ${add(parameters, fileId)}`);
  }
  if (since !== undefined) filters.push(`s.stored > ${add(parameters, since)}::timestamptz`);
  if (until !== undefined) filters.push(`s.stored <= ${add(parameters, until)}::timestamptz`);
  return filters;
}

/** @returns the placeholder of the new parameter */
function add(parameters: unknown[], value: unknown): string {
  return `$${parameters.push(value)}`;
}
