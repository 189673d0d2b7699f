import { type Pool, withTransaction } from "../db/pool.ts";
import type { MirrorKey } from "./firestore-mirror.ts";
import { MIRRORED_COLUMNS, type MirroredRow, toRow } from "./mirrored-row.ts";

/*
 * Reads from the database what has to be mirrored. The journal is read in the order of its transactions, up to the
 * oldest transaction that still runs. Below that no row can appear any more, so no late commit is missed, and all that
 * was read can be deleted as one range.
 */

/** Rows of the journal in one read. Each row may hold the keys of a whole batch. */
const JOURNAL_PAGE = 100;

export interface Backlog {
  /** Each key once, however often it changed. */
  keys: MirrorKey[];
  /** The last row of the journal that was read; null where there was none. */
  last: { xid: string; id: number } | null;
  /** All changes of transactions before this one are in `keys`. */
  cursor: string;
  /** Whether the journal has no more rows below the oldest running transaction. */
  isDrained: boolean;
}

interface JournalRow {
  xid: string;
  id: number;
  changed_users: string[];
  changed_files: string[];
  deleted_users: string[];
  deleted_files: string[];
}

/** Reads from the cursor on, until there are about `maxKeys` different keys. */
export async function readBacklog(pool: Pool, cursor: string, maxKeys: number): Promise<Backlog> {
  const horizon = await readHorizon(pool);
  const keys = new Map<string, MirrorKey>();
  let last = null as Backlog["last"];
  let isDrained = false;
  while (!isDrained && keys.size < maxKeys) {
    // Order by the column, not by its text: as text, 1000 comes before 999.
    const { rows }: { rows: JournalRow[] } = await pool.query<JournalRow>(
      `SELECT xid::text, id, changed_users, changed_files, deleted_users, deleted_files FROM progress_journal
       WHERE (xid, id) > ($1::xid8, $2) AND xid < $3::xid8 ORDER BY progress_journal.xid, id LIMIT $4`,
      [last?.xid ?? cursor, last?.id ?? 0, horizon, JOURNAL_PAGE],
    );
    for (const row of rows) {
      collect(keys, row.changed_users, row.changed_files);
      collect(keys, row.deleted_users, row.deleted_files);
      last = { xid: row.xid, id: row.id };
    }
    isDrained = rows.length < JOURNAL_PAGE;
  }
  return { keys: [...keys.values()], last, cursor: isDrained || last === null ? horizon : last.xid, isDrained };
}

function collect(keys: Map<string, MirrorKey>, users: string[], files: string[]): void {
  for (const [i, userId] of users.entries()) {
    const fileId = files[i] as string;
    keys.set(JSON.stringify([userId, fileId]), { userId, fileId });
  }
}

/** The id of the oldest transaction that still runs. */
export async function readHorizon(pool: Pool): Promise<string> {
  const { rows } = await pool.query<{ horizon: string }>(
    "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon",
  );
  return (rows[0] as { horizon: string }).horizon;
}

/** The id of the next transaction to begin. */
export async function readNextTransaction(pool: Pool): Promise<string> {
  const { rows } = await pool.query<{ next: string }>("SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next");
  return (rows[0] as { next: string }).next;
}

/** Deletes the journal rows of a mirrored backlog, and moves the cursor. */
export async function settleBacklog(pool: Pool, { last, cursor }: Backlog): Promise<void> {
  if (last === null) return;
  await withTransaction(pool, async (client) => {
    // From the cursor on, so PostgreSQL does not visit deleted rows that are not vacuumed yet.
    await client.query(
      "DELETE FROM progress_journal WHERE xid >= (SELECT cursor FROM mirror) AND (xid, id) <= ($1::xid8, $2)",
      [last.xid, last.id],
    );
    await client.query("UPDATE mirror SET cursor = $1::xid8, mirrored_at = clock_timestamp()", [cursor]);
  });
}

/** The rows as they are now, in the order of the keys; null where there is none. */
export async function readRows(pool: Pool, keys: readonly MirrorKey[]): Promise<(MirroredRow | null)[]> {
  const { rows } = await pool.query<MirroredRow & { ord: number }>(
    `SELECT k.ord::integer, ${MIRRORED_COLUMNS}
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (user_id, file_id, ord)
     CROSS JOIN LATERAL (SELECT * FROM user_progress AS p WHERE p.user_id = k.user_id AND p.file_id = k.file_id OFFSET 0) AS p`,
    [keys.map((key) => key.userId), keys.map((key) => key.fileId)],
  );
  const found: (MirroredRow | null)[] = keys.map(() => null);
  for (const { ord, ...row } of rows) found[ord - 1] = toRow(row);
  return found;
}

/** The rows after a key, in the order of users and files. */
export async function readRowsAfter(pool: Pool, after: MirrorKey, limit: number): Promise<MirroredRow[]> {
  const { rows } = await pool.query<MirroredRow>(
    `SELECT ${MIRRORED_COLUMNS} FROM user_progress AS p WHERE (p.user_id, p.file_id) > ($1, $2)
     ORDER BY p.user_id, p.file_id LIMIT $3`,
    [after.userId, after.fileId, limit],
  );
  return rows.map(toRow);
}
