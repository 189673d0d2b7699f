import { deleteUser } from "../db/delete-user.ts";
import { type Pool, type PoolClient, withTransaction, write } from "../db/pool.ts";
import { BATCH_SIZE, type FirestoreMirror, type MirroredDeletion } from "./firestore-mirror.ts";
import { inUtc, type MirroredRow } from "./mirrored-row.ts";

/*
 * Deletions of users in the mirror, so that a restore brings back neither a user who was deleted nor the right of tokens that
 * were issued before. A document holds a hash of the user's id, and with it the salts that hashes are made with.
 */

/** Users whose hashes are computed in one statement. */
const USERS_A_PAGE = 5000;

/** Brings deletions to the mirror that it does not hold yet. */
export async function mirrorDeletions({ pool, mirror }: { pool: Pool; mirror: FirestoreMirror }): Promise<void> {
  for (;;) {
    const { rows } = await pool.query<MirroredDeletion>(
      `SELECT encode(d.user_hash, 'hex') AS hash, s.value AS salts, d.epoch, to_json(d.deleted_at) #>> '{}' AS "deletedAt",
         to_json(d.returned_at) #>> '{}' AS "returnedAt"
       FROM deleted_users AS d, settings AS s WHERE NOT d.mirrored AND s.name = 'deletion_salts' LIMIT ${BATCH_SIZE}`,
    );
    if (rows.length === 0) return;
    await mirror.commitDeletions(rows);
    // Not one that has changed meanwhile: it is written again.
    await write(
      pool,
      `UPDATE deleted_users AS d SET mirrored = true
       FROM jsonb_to_recordset($1::jsonb) AS m (hash text, "deletedAt" timestamptz, "returnedAt" timestamptz)
       WHERE d.user_hash = decode(m.hash, 'hex') AND d.deleted_at = m."deletedAt" AND d.returned_at IS NOT DISTINCT FROM m."returnedAt"`,
      [JSON.stringify(rows)],
    );
  }
}

/**
 * Brings the deletions of the mirror to the database, and deletes users again whom the database has from before their
 * deletion. Returns how many these are.
 */
export async function restoreDeletions({ pool, mirror }: { pool: Pool; mirror: FirestoreMirror }): Promise<number> {
  const deletions = await mirror.readDeletions();
  if (deletions.length === 0) return 0;
  const salts = [...new Set(deletions.flatMap((deletion) => deletion.salts.split(",")))];
  await write(
    pool,
    `INSERT INTO settings AS s (name, value) VALUES ('deletion_salts', $1)
     ON CONFLICT (name) DO UPDATE SET value = s.value || coalesce((
       SELECT string_agg(',' || salt, '') FROM string_to_table(excluded.value, ',') AS salt
       WHERE salt <> ALL (string_to_array(s.value, ','))), '')`,
    [salts.join(",")],
  );
  await write(
    pool,
    `INSERT INTO deleted_users AS d (user_hash, deleted_at, epoch, returned_at)
     SELECT decode(m.hash, 'hex'), m."deletedAt", m.epoch, m."returnedAt"
     FROM jsonb_to_recordset($1::jsonb) AS m (hash text, "deletedAt" timestamptz, epoch integer, "returnedAt" timestamptz)
     ON CONFLICT (user_hash) DO UPDATE SET deleted_at = excluded.deleted_at, returned_at = excluded.returned_at,
       epoch = greatest(d.epoch, excluded.epoch), mirrored = false
     WHERE d.deleted_at < excluded.deleted_at`,
    [JSON.stringify(deletions)],
  );
  const deleted = await deleteAgain(pool);
  // Every process reads all deletions again.
  await pool.query("SELECT pg_notify('deleted_users', '{}')");
  return deleted;
}

/**
 * Deletes users who were deleted, and are there as they were before. The deletion keeps its time: what they did after they
 * came back counts.
 */
async function deleteAgain(pool: Pool): Promise<number> {
  let deleted = 0;
  let last: string | null = null;
  for (;;) {
    const { rows }: { rows: { id: string; isBack: boolean }[] } = await pool.query<{ id: string; isBack: boolean }>(
      `SELECT u.id, EXISTS (
         SELECT FROM deleted_users AS d WHERE d.user_hash IN (SELECT deleted_user_hashes(u.id)) AND u.created_at <= d.deleted_at) AS "isBack"
       FROM users AS u WHERE $1::text IS NULL OR u.id > $1 ORDER BY u.id LIMIT ${USERS_A_PAGE}`,
      [last],
    );
    for (const { id } of rows.filter(({ isBack }) => isBack)) {
      await withTransaction(pool, (client) => deleteOneAgain(client, id));
      deleted += 1;
    }
    last = rows.at(-1)?.id ?? null;
    if (rows.length < USERS_A_PAGE) return deleted;
  }
}

async function deleteOneAgain(client: PoolClient, id: string): Promise<void> {
  const { rows } = await client.query<{ hash: Buffer; deletedAt: string; returnedAt: string | null }>(
    `SELECT user_hash AS hash, deleted_at::text AS "deletedAt", returned_at::text AS "returnedAt"
     FROM deleted_users WHERE user_hash IN (SELECT deleted_user_hashes($1))`,
    [id],
  );
  await deleteUser(client, id);
  for (const { hash, deletedAt, returnedAt } of rows) {
    await client.query("UPDATE deleted_users SET deleted_at = $2, returned_at = $3 WHERE user_hash = $1", [
      hash,
      deletedAt,
      returnedAt,
    ]);
  }
}

/** Leaves out the rows of users from before their deletion, and deletes them from the mirror, which had not come so far. */
export async function withoutDeleted(
  { pool, mirror }: { pool: Pool; mirror: FirestoreMirror },
  rows: MirroredRow[],
): Promise<MirroredRow[]> {
  const { rows: found } = await pool.query<{ ord: number }>(
    `SELECT (r.ord - 1)::integer AS ord FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS r (user_id, created_at, ord)
     WHERE EXISTS (
       SELECT FROM deleted_users AS d WHERE d.user_hash IN (SELECT deleted_user_hashes(r.user_id)) AND r.created_at <= d.deleted_at)`,
    [rows.map(({ userId }) => userId), rows.map(({ createdAt }) => inUtc(createdAt))],
  );
  if (found.length === 0) return rows;
  const deleted = new Set(found.map(({ ord }) => rows[ord] as MirroredRow));
  await mirror.commit([...deleted].map(({ userId, fileId }) => ({ userId, fileId, row: null })));
  return rows.filter((row) => !deleted.has(row));
}
