import { createHash } from "node:crypto";
import { type Pool, write } from "../db/pool.ts";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";

/*
 * Users whose data was deleted (delete_user.sql). A token that was issued before the deletion is refused for good; with a newer
 * one the user begins anew. All deletions are in memory, as hashes, so that to check a token costs one hash, and none where
 * nobody was deleted. Every process hears of a deletion by notification, and reads all of them when it may have missed one.
 * Where it has not heard yet, PostgreSQL refuses to store anything of the user (begin_anew.sql).
 */

/** Picks users. */
export type UserFilter = (userId: string) => boolean;

/** Lets a user in whose token was issued at this time. @throws AppError `unauthenticated`, `unavailable` */
export type AdmitUser = (userId: string, issuedAtMs: number) => Promise<void>;

/** The token was issued before the user's data was deleted. */
export class UserDeleted extends AppError {
  readonly userId: string;

  constructor(userId: string) {
    super(
      "unauthenticated",
      "The user was deleted after this token was issued; with a new token the user begins anew.",
    );
    this.userId = userId;
  }
}

interface Deletion {
  deletedAtMs: number;
  hasReturned: boolean;
}

export interface DeletedUsersParts {
  pool: Pool;
  /** Users were deleted: ends and forgets what this process has of them. */
  onDeleted: (isDeleted: UserFilter) => void;
  logger: Logger;
}

export class DeletedUsers {
  readonly #parts: DeletedUsersParts;
  #salts: string[] = [];
  /** By hash. */
  readonly #deletions = new Map<string, Deletion>();
  /** Tokens are not checked before it ends. */
  #loading: Promise<void> | null = null;

  constructor(parts: DeletedUsersParts) {
    this.#parts = parts;
  }

  /** Reads all deletions, before anybody is let in. @throws the database's error */
  async load(): Promise<void> {
    await this.#read();
  }

  /** Returns the hashes of those that were not known. */
  async #read(): Promise<ReadonlySet<string>> {
    const { rows } = await this.#parts.pool.query<{ salts: string } & Deletion & { hash: string }>(
      `SELECT s.value AS salts, encode(d.user_hash, 'base64') AS hash, (extract(epoch FROM d.deleted_at) * 1000)::float8 AS "deletedAtMs",
         d.returned_at IS NOT NULL AS "hasReturned"
       FROM deleted_users AS d CROSS JOIN settings AS s WHERE s.name = 'deletion_salts'`,
    );
    if (rows[0] !== undefined) this.#salts = rows[0].salts.split(",");
    const missed = new Set<string>();
    for (const { hash, deletedAtMs, hasReturned } of rows) {
      const known = this.#deletions.get(hash);
      // Known is what a notification told while this was read.
      if (known !== undefined && known.deletedAtMs >= deletedAtMs) continue;
      this.#deletions.set(hash, { deletedAtMs, hasReturned });
      missed.add(hash);
    }
    return missed;
  }

  /** Notifications may have been lost. A failure is logged: the listener hears of it, and listens again. */
  reload(): void {
    const loading = this.#read()
      .then((missed) => {
        if (missed.size > 0) this.#parts.onDeleted((id) => this.#hashesOf(id).some((hash) => missed.has(hash)));
      })
      .catch((error: unknown) => this.#parts.logger.error({ err: error }, "deletions of users could not be read"))
      .finally(() => {
        if (this.#loading === loading) this.#loading = null;
      });
    this.#loading = loading;
  }

  /**
   * A notification of the channel `deleted_users`: of one user, or without `userId` that all are to be read again.
   * @throws SyntaxError for a payload that nobody sends
   */
  onNotified(payload: string): void {
    const { userId, deletedAt } = JSON.parse(payload) as { userId?: string; deletedAt: number };
    if (userId === undefined) this.reload();
    else this.note(userId, deletedAt);
  }

  /** The user was deleted at this time. */
  note(userId: string, deletedAtMs: number): void {
    const known = this.#find(userId);
    if (known !== undefined && known.deletedAtMs >= deletedAtMs) return;
    const [hash] = this.#hashesOf(userId);
    if (known !== undefined) Object.assign(known, { deletedAtMs, hasReturned: false });
    else if (hash !== undefined) this.#deletions.set(hash, { deletedAtMs, hasReturned: false });
    // The first deletion of all: the salt is not known yet.
    else this.reload();
    this.#parts.onDeleted((id) => id === userId);
  }

  readonly admit: AdmitUser = async (userId, issuedAtMs) => {
    if (this.#loading !== null) await this.#loading;
    if (this.#deletions.size === 0) return;
    const deletion = this.#find(userId);
    if (deletion === undefined) return;
    if (issuedAtMs <= deletion.deletedAtMs) throw new UserDeleted(userId);
    if (!deletion.hasReturned) await this.#readmit(userId, issuedAtMs, deletion);
  };

  async #readmit(userId: string, issuedAtMs: number, deletion: Deletion): Promise<void> {
    const sql = "SELECT readmit_user($1, to_timestamp($2::float8 / 1000)) AS admitted";
    const { rows } = await write<{ admitted: boolean }>(this.#parts.pool, sql, [userId, issuedAtMs]).catch(
      (error: unknown) => {
        throw toUnavailable(error);
      },
    );
    // Perhaps there was another deletion, which this process has heard of meanwhile, or not yet.
    if (!rows[0]?.admitted || issuedAtMs <= deletion.deletedAtMs) throw new UserDeleted(userId);
    deletion.hasReturned = true;
  }

  #find(userId: string): Deletion | undefined {
    for (const hash of this.#hashesOf(userId)) {
      const deletion = this.#deletions.get(hash);
      if (deletion !== undefined) return deletion;
    }
    return undefined;
  }

  #hashesOf(userId: string): string[] {
    return this.#salts.map((salt) =>
      createHash("sha256")
        .update(salt + userId)
        .digest("base64"),
    );
  }
}
