import type { Pool } from "./pool.ts";

/** Whether a statement would be allowed to write now. The server may have become read-only since its connection was opened. */
export const CAN_WRITE = "NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'";

/**
 * Whether the writers of heartbeats can write, as far as a connection of theirs tells. Where all of them are at work, they
 * find out themselves.
 * @throws the database's error
 */
export async function canWrite(writerPool: Pool): Promise<boolean> {
  if (writerPool.totalCount - writerPool.idleCount >= writerPool.options.max) return true;
  const { rows } = await writerPool.query<{ can: boolean }>(`SELECT ${CAN_WRITE} AS can`);
  return rows[0]?.can === true;
}
