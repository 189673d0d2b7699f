import { type Pool, write } from "../db/pool.ts";
import type { Logger } from "../logger.ts";

/*
 * Reads and writes the one row of the table `mirror`: whether progress is mirrored, which database the mirror followed
 * last, how far it has come, and which full pass is due.
 *
 * Four values tell a database from all others: the identifier of its cluster (differs after a restore into another
 * cluster), the timeline (raised by a failover, and by a recovery to a point in time), the oid of the database (differs
 * in a copy on the same cluster) and the oid of user_progress (differs after a dump was restored into the same
 * database).
 */

export type Pass =
  /** Writes rows that the mirror lacks or has in an older version. Newer documents stay. */
  | "check"
  /** Writes every row. */
  | "write"
  /** Deletes documents that have no row in the database. */
  | "sweep";

export interface MirrorState {
  enabled: boolean;
  /** Whether nothing is mirrored until an operator has decided: the mirror holds progress of another database. */
  held: boolean;
  project: string | null;
  /** All transactions before this one are mirrored. */
  cursor: string;
  mirroredAt: Date | null;
  pass: Pass | null;
  /** With `passFile`: the key that the pass has reached. */
  passUser: string;
  passFile: string;
  /** Whether a sweep ends the pass. */
  deleteUnknown: boolean;
  /** Whether the mirror followed this database last; null where no mirror ever followed. */
  isSameDatabase: boolean | null;
}

const IDENTITY = `(SELECT system_identifier FROM pg_control_system()), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
  (SELECT oid FROM pg_database WHERE datname = current_database()), 'user_progress'::regclass::oid`;

/** Reads the state of the mirror. */
export async function loadState(pool: Pool): Promise<MirrorState> {
  const { rows } = await pool.query<MirrorState>(
    `SELECT enabled, held, project, cursor::text, mirrored_at AS "mirroredAt", pass, pass_user AS "passUser", pass_file AS "passFile",
       delete_unknown AS "deleteUnknown",
       CASE WHEN system_identifier IS NOT NULL THEN (system_identifier, timeline, database_oid, table_oid) = (${IDENTITY}) END AS "isSameDatabase"
     FROM mirror`,
  );
  return rows[0] as MirrorState;
}

/** Makes the triggers write the journal from the next statement on, and asks for a pass that finds all earlier rows. */
export async function switchOn(pool: Pool): Promise<void> {
  await pool.query("UPDATE mirror SET enabled = true, pass = coalesce(pass, 'check') WHERE NOT enabled");
}

/** Warns where the mirror is on and this process has none: perhaps no process follows, and the journal only grows. */
export async function warnIfUnattended(pool: Pool, logger: Logger): Promise<void> {
  const { rowCount } = await pool.query("SELECT FROM mirror WHERE enabled");
  if (rowCount === 0) return;
  logger.warn(
    "the mirror of this database is on, but not in this process: set FIRESTORE_MIRROR=true here too, or switch it off with `playhead backup off`",
  );
}

/** Switches the mirror off. The pass that is done when it is on again also finds rows that were deleted meanwhile. */
export async function switchOff(pool: Pool): Promise<void> {
  await write(
    pool,
    `WITH gone AS (DELETE FROM progress_journal)
     UPDATE mirror SET enabled = false, held = false, pass = 'check', pass_user = '', pass_file = '', delete_unknown = true`,
  );
}

/**
 * Stops mirroring until an operator has decided which progress is right, that of the database or that of the mirror.
 */
export async function hold(pool: Pool): Promise<void> {
  await write(pool, "UPDATE mirror SET held = true");
}

/**
 * Records that this database and this project belong together, and asks for a full pass. The rows of the journal get
 * the id of the current transaction: those that came with a dump hold ids of another cluster.
 */
export async function adopt(
  pool: Pool,
  { project, pass, deleteUnknown }: { project: string; pass: "check" | "write"; deleteUnknown: boolean },
): Promise<void> {
  await write(
    pool,
    `WITH stamped AS (UPDATE progress_journal SET xid = pg_current_xact_id()),
       again AS (UPDATE deleted_users SET mirrored = false WHERE mirrored)
     UPDATE mirror SET (system_identifier, timeline, database_oid, table_oid) = (SELECT ${IDENTITY}), project = $1, held = false, cursor = '0',
       pass = $2, pass_user = '', pass_file = '', delete_unknown = $3`,
    [project, pass, deleteUnknown],
  );
}

/** Records how far a pass has come, unless another pass was asked for meanwhile. */
export async function advancePass(
  pool: Pool,
  from: MirrorState,
  to: Pick<MirrorState, "pass" | "passUser" | "passFile">,
): Promise<void> {
  await write(
    pool,
    `UPDATE mirror SET pass = $1, pass_user = $2, pass_file = $3, delete_unknown = delete_unknown AND $1::text IS NOT NULL
     WHERE (pass, pass_user, pass_file) = ($4, $5, $6)`,
    [to.pass, to.passUser, to.passFile, from.pass, from.passUser, from.passFile],
  );
}
