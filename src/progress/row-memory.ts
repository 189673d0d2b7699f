import type { StoredRow } from "./merge-beat.ts";
import { RecentMap } from "./recent-map.ts";

/*
 * The rows that this process wrote or read last, so that a player's next heartbeat is decided without reading. A
 * remembered row may be outdated: PostgreSQL writes only where the row still has the same version.
 */

/** About half a KB a row and at most twice as many rows: about 60 MB. */
const MAX_ROWS = 64_000;
const MAX_SHARED_USERS = 10_000;
/** For so long every row of a user is read anew, after another process wrote one of them. */
const SHARED_MS = 10 * 60 * 1000;

export class RowMemory {
  readonly #rows = new RecentMap<string, StoredRow>(MAX_ROWS);
  readonly #sharedUntil = new RecentMap<string, number>(MAX_SHARED_USERS);

  row(key: string): StoredRow | undefined {
    return this.#rows.get(key);
  }

  /** Call it after COMMIT only. Does nothing for a shared user. */
  setRow(userId: string, key: string, row: StoredRow): void {
    const sharedUntil = this.#sharedUntil.get(userId);
    if (sharedUntil === undefined || performance.now() > sharedUntil) this.#rows.set(key, row);
  }

  forgetRow(key: string): void {
    this.#rows.delete(key);
  }

  /** Another writer changed a row of the user: another process with the user's other device, or an operation. */
  setShared(userId: string): void {
    this.#sharedUntil.set(userId, performance.now() + SHARED_MS);
  }
}
