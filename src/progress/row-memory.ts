import type { StoredRow } from "./merge-beat.ts";
import { type PendingBeat, userOfRow } from "./pending-beat.ts";
import { RecentMap } from "./recent-map.ts";
import { isOfOthers, type OtherSeqs, seqsAfter } from "./row-place.ts";

/*
 * The rows that this process wrote or read last, so that a player's next heartbeat is decided without reading. A
 * remembered row may be outdated: PostgreSQL writes only where the row still has the same version.
 */

/** About half a KB a row and at most twice as many rows: about 60 MB. */
const MAX_ROWS = 64_000;
const MAX_SHARED_USERS = 10_000;
/** Few files are played on two devices at a time. */
const MAX_OTHER_SEQS = 10_000;
/** For so long every row of a user is read anew, after another process wrote one of them. */
const SHARED_MS = 10 * 60 * 1000;

export class RowMemory {
  readonly #rows = new RecentMap<string, StoredRow>(MAX_ROWS);
  readonly #sharedUntil = new RecentMap<string, number>(MAX_SHARED_USERS);

  readonly #otherSeqs = new RecentMap<string, OtherSeqs>(MAX_OTHER_SEQS);

  row(key: string): StoredRow | undefined {
    return this.#rows.get(key);
  }

  /** Call it after COMMIT only. Does nothing for a shared user. */
  setRow(userId: string, key: string, row: StoredRow): void {
    const sharedUntil = this.#sharedUntil.get(userId);
    if (sharedUntil === undefined || performance.now() > sharedUntil) this.#rows.set(key, row);
  }

  /** What is known of the sessions of this row, where the beat is not only of the session that has the place. */
  otherSeqs(key: string, row: StoredRow, beat: PendingBeat): OtherSeqs | undefined {
    return row.lastWatchedUs !== null && isOfOthers(row, beat) ? this.#otherSeqs.get(key) : undefined;
  }

  /** Call it after COMMIT only. Remembers the numbers of sessions that do not have the place, of shared users too. */
  noteSessions(key: string, beat: PendingBeat, before: StoredRow | null, after: StoredRow): void {
    // A row without a place is new, or was reset: what was known is of the time before.
    if (before === null || before.lastWatchedUs === null) {
      this.#otherSeqs.delete(key);
      if (isOfOthers(after, beat)) this.#otherSeqs.set(key, seqsAfter(undefined, beat, after, after));
    } else if (isOfOthers(before, beat)) {
      this.#otherSeqs.set(key, seqsAfter(this.#otherSeqs.get(key), beat, before, after));
    }
  }

  forgetRow(key: string): void {
    this.#rows.delete(key);
  }

  /** Forgets all rows of these users. */
  forgetUsers(isForgotten: (userId: string) => boolean): void {
    for (const rows of [this.#rows, this.#otherSeqs]) rows.deleteWhere((key) => isForgotten(userOfRow(key)));
    this.#sharedUntil.deleteWhere(isForgotten);
  }

  /** Another writer changed a row of the user: another process with the user's other device, or an operation. */
  setShared(userId: string): void {
    this.#sharedUntil.set(userId, performance.now() + SHARED_MS);
  }
}
