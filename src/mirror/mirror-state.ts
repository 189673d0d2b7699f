import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";

/*
 * The row of the table `mirror`: whether progress is mirrored, which database the mirror followed last, how far it is,
 * and what pass over everything is to be done.
 *
 * A database is told from others by the cluster's identifier (another one after a logical restore elsewhere), its
 * timeline (raised by a failover, and by a recovery to a point in time), its oid (another one for a copy on the same
 * cluster) and the oid of user_progress (another one where a dump was restored into the same database).
 */

export type Pass =
  /** Writes what the mirror lacks or has older; what it has newer stays. */
  | "check"
  /** Writes everything. */
  | "write"
  /** Deletes from the mirror what is unknown here. */
  | "sweep";

export interface MirrorState {
  enabled: boolean;
  held: boolean;
  project: string | null;
  /** Everything that committed before this transaction is mirrored. */
  cursor: string;
  mirroredAt: Date | null;
  pass: Pass | null;
  /** How far the pass has come. */
  passUser: string;
  passFile: string;
  deleteUnknown: boolean;
  /** Whether a mirror followed this very database; null where none followed any. */
  isSameDatabase: boolean | null;
}

const IDENTITY = `(SELECT system_identifier FROM pg_control_system()), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
  (SELECT oid FROM pg_database WHERE datname = current_database()), 'user_progress'::regclass::oid`;

export async function loadState(pool: Pool): Promise<MirrorState> {
  const { rows } = await pool.query<MirrorState>(
    `SELECT enabled, held, project, cursor::text, mirrored_at AS "mirroredAt", pass, pass_user AS "passUser", pass_file AS "passFile",
       delete_unknown AS "deleteUnknown",
       CASE WHEN system_identifier IS NOT NULL THEN (system_identifier, timeline, database_oid, table_oid) = (${IDENTITY}) END AS "isSameDatabase"
     FROM mirror`,
  );
  return rows[0] as MirrorState;
}

/** From the next statement on the triggers write the journal; what came before is found by a pass. */
export async function switchOn(pool: Pool): Promise<void> {
  await pool.query("UPDATE mirror SET enabled = true, pass = coalesce(pass, 'check') WHERE NOT enabled");
}

/** For a process that does not mirror: others may, or somebody forgot to switch it off, and the journal grows. */
export async function warnIfUnattended(pool: Pool, logger: Logger): Promise<void> {
  const { rowCount } = await pool.query("SELECT FROM mirror WHERE enabled");
  if (rowCount === 0) return;
  logger.warn(
    "progress of this database is mirrored, but not by this process: set FIRESTORE_MIRROR=true here too, or end it with `playhead backup off`",
  );
}

/** What is deleted while the mirror is off is found by the pass that is done when it is switched on again. */
export async function switchOff(pool: Pool): Promise<void> {
  await pool.query(
    `WITH gone AS (DELETE FROM progress_journal)
     UPDATE mirror SET enabled = false, held = false, pass = 'check', pass_user = '', pass_file = '', delete_unknown = true`,
  );
}

/** Nothing is mirrored until somebody says which of the two is right. */
export async function hold(pool: Pool): Promise<void> {
  await pool.query("UPDATE mirror SET held = true");
}

/**
 * Says that this database and that project belong together, and asks for a pass over everything.
 * The journal's rows get a transaction of today: those that came with a dump count another cluster's.
 */
export async function adopt(
  pool: Pool,
  { project, pass, deleteUnknown }: { project: string; pass: "check" | "write"; deleteUnknown: boolean },
): Promise<void> {
  await pool.query(
    `WITH stamped AS (UPDATE progress_journal SET xid = pg_current_xact_id())
     UPDATE mirror SET (system_identifier, timeline, database_oid, table_oid) = (SELECT ${IDENTITY}), project = $1, held = false, cursor = '0',
       pass = $2, pass_user = '', pass_file = '', delete_unknown = $3`,
    [project, pass, deleteUnknown],
  );
}

/** Keeps how far a pass is, unless another one was asked for meanwhile. */
export async function advancePass(
  pool: Pool,
  from: MirrorState,
  to: Pick<MirrorState, "pass" | "passUser" | "passFile">,
): Promise<void> {
  await pool.query(
    `UPDATE mirror SET pass = $1, pass_user = $2, pass_file = $3, delete_unknown = delete_unknown AND $1::text IS NOT NULL
     WHERE (pass, pass_user, pass_file) = ($4, $5, $6)`,
    [to.pass, to.passUser, to.passFile, from.pass, from.passUser, from.passFile],
  );
}
