import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "../db/pool.ts";
import { BATCH_SIZE, type MirrorChange } from "./firestore-mirror.ts";
import { readHorizon, readNextTransaction, readRows, readRowsAfter } from "./journal.ts";
import { advancePass, type MirrorState } from "./mirror-state.ts";
import { type WriteParts, writeChanges } from "./write-changes.ts";

/*
 * Compares or writes all rows, page by page: between two pages the follower reads the journal, and after a restart the
 * pass goes on with the next page.
 *
 *   check | write ──(last page)──▶ sweep, where asked for ──▶ none
 */

const FENCE_POLL_MS = 200;

export interface PassParts extends WriteParts {
  pool: Pool;
}

/** Does the next page of the pass that `state` asks for. */
export async function stepPass(parts: PassParts, state: MirrorState): Promise<void> {
  if (state.pass === "sweep") {
    await sweep(parts);
    await advancePass(parts.pool, state, { pass: null, passUser: "", passFile: "" });
    return;
  }
  if (state.passUser === "") await awaitRunningTransactions(parts);
  const { pool, logger } = parts;
  const rows = await readRowsAfter(pool, { userId: state.passUser, fileId: state.passFile }, BATCH_SIZE);
  const changes: MirrorChange[] = rows.map((row) => ({ userId: row.userId, fileId: row.fileId, row }));
  await writeChanges(parts, state.pass === "check" ? await withoutKnown(parts, changes) : changes);
  const last = rows.at(-1);
  if (rows.length === BATCH_SIZE && last !== undefined) {
    await advancePass(pool, state, { pass: state.pass, passUser: last.userId, passFile: last.fileId });
    return;
  }
  logger.info({ pass: state.pass }, "a full pass has brought every row to the mirror");
  await advancePass(pool, state, { pass: state.deleteUnknown ? "sweep" : null, passUser: "", passFile: "" });
}

/**
 * Waits until all transactions that run now have ended. A transaction that began before the mirror was on has left
 * nothing in the journal, so the pass must see its rows.
 */
async function awaitRunningTransactions({ pool, signal }: PassParts): Promise<void> {
  const fence = BigInt(await readNextTransaction(pool));
  while (BigInt(await readHorizon(pool)) < fence) await delay(FENCE_POLL_MS, undefined, { signal });
}

/**
 * Leaves out rows that the mirror has in the same version, or in a newer one: the database has lost that, and may want
 * it back.
 */
async function withoutKnown({ mirror, logger }: PassParts, changes: MirrorChange[]): Promise<MirrorChange[]> {
  const versions = await mirror.versionsOf(changes);
  const isNewer = (version: number, change: MirrorChange) => version > (change.row?.version ?? 0);
  const newer = changes.filter((change, i) => isNewer(versions[i] ?? 0, change));
  if (newer.length > 0) {
    logger.warn(
      { rows: newer.length, first: { userId: newer[0]?.userId, fileId: newer[0]?.fileId } },
      "the mirror has newer progress than the database; `playhead backup restore --force` brings it back",
    );
  }
  return changes.filter((change, i) => (versions[i] ?? -1) < (change.row?.version ?? 0));
}

/** Deletes documents that have no row in the database. */
async function sweep(parts: PassParts): Promise<void> {
  let deleted = 0;
  for await (const { rows } of parts.mirror.pages()) {
    parts.signal.throwIfAborted();
    const known = await readRows(parts.pool, rows);
    const unknown = rows.filter((_, i) => known[i] === null);
    await writeChanges(
      parts,
      unknown.map(({ userId, fileId }) => ({ userId, fileId, row: null })),
    );
    deleted += unknown.length;
  }
  parts.logger.info({ deleted }, "documents without a row in the database were deleted from the mirror");
}
