import pg from "pg";
import { createGuard, type Guard } from "../guard.ts";
import type { Logger } from "../logger.ts";
import { withinTime } from "../within-time.ts";

/*
 * Elects, for each duty, one process among those that share a database: the one that holds the advisory lock of the
 * duty. The lock belongs to a connection, so PostgreSQL frees it as soon as the process dies. A holder gives the lock
 * up when the database does not answer it, or when it cannot do its duty. For a moment two processes may believe that
 * they hold the lock; every duty has to allow for that.
 *
 *   candidate ──(gets the lock)──▶ holder ──(error, no answer, unable)──▶ candidate …
 */

/** Keys of advisory locks. Their class differs from that of the writers' locks (`lock_writers`). */
export const DUTIES = {
  /** Tells all processes about changes. */
  relay: [7702, 0],
  /** Brings the mirror up to date. */
  mirror: [7702, 1],
  /** Tends the sessions of xAPI, and forwards statements to the learning record store. */
  xapi: [7702, 2],
} as const;
const LOOK_MS = 1000;
const ANSWER_MS = 3000;
/** PostgreSQL ends the connection of an unreachable holder after this time, and so frees the lock. */
const KEEPALIVE = `SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3; SET tcp_user_timeout = ${ANSWER_MS}`;

export interface ElectionParts {
  duty: keyof typeof DUTIES;
  /** A direct connection: the lock belongs to a session, and a pooler in transaction mode keeps no session. */
  connectionString: string;
  /** Checks the connection: a lock on a standby, or on a server that another has taken over from, is worth nothing. */
  admit?: (client: pg.ClientBase) => Promise<void>;
  /** Whether this process could do the duty. */
  isAble: () => boolean;
  onElected: () => void;
  onDismissed: () => void;
  logger: Logger;
}

export class Election {
  readonly #parts: ElectionParts;
  readonly #guard: Guard;
  #client: pg.Client | null = null;
  #isHolder = false;
  #isStopped = false;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> = Promise.resolve();

  constructor(parts: ElectionParts) {
    this.#parts = parts;
    this.#guard = createGuard(parts.logger);
  }

  get isHolder(): boolean {
    return this.#isHolder;
  }

  /** Stands for the duty from now on. */
  start(): void {
    this.#looking = this.#look(); // never rejects
  }

  /** Gives up the duty for good. Resolves when the connection is closed. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#leave();
    await this.#looking; // A look under way may be connecting, for at most ANSWER_MS.
    await this.#leave();
  }

  async #look(): Promise<void> {
    try {
      if (this.#parts.isAble()) await this.#standOrProve();
      else await this.#leave();
    } catch (error) {
      this.#parts.logger.debug({ err: error, duty: this.#parts.duty }, "the lock of a duty could not be reached");
      await this.#leave();
    }
    if (!this.#isStopped) this.#timer = setTimeout(() => this.start(), LOOK_MS).unref();
  }

  async #standOrProve(): Promise<void> {
    const client = this.#client ?? (await this.#connect());
    if (this.#isHolder) {
      await client.query("SELECT 1");
      return;
    }
    const { rows } = await client.query<{ won: boolean }>("SELECT pg_try_advisory_lock($1, $2) AS won", [
      ...DUTIES[this.#parts.duty],
    ]);
    if (!rows[0]?.won || this.#isStopped) return;
    this.#isHolder = true;
    this.#parts.logger.info({ duty: this.#parts.duty }, "this process was elected");
    this.#parts.onElected();
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.#parts.connectionString,
      application_name: `playhead-${this.#parts.duty}`,
      connectionTimeoutMillis: ANSWER_MS,
      query_timeout: ANSWER_MS,
      keepAlive: true,
    });
    client.on("error", (error) => {
      this.#parts.logger.debug({ err: error, duty: this.#parts.duty }, "the connection of a duty's lock broke");
      if (this.#client === client) void this.#leave(); // never rejects
    });
    await client.connect();
    this.#client = client;
    if (this.#isStopped) throw new Error("stopped while it connected");
    await this.#parts.admit?.(client);
    await client.query(KEEPALIVE);
    return client;
  }

  /**
   * Gives up the lock by closing its connection. A dead connection may never finish closing, so this waits LOOK_MS at
   * most.
   */
  async #leave(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    if (this.#isHolder) {
      this.#isHolder = false;
      this.#guard("laying down a duty", () => this.#parts.onDismissed());
    }
    if (client === null) return;
    await withinTime(client.end(), LOOK_MS, () => new Error("the connection does not close")).catch(() => undefined);
  }
}
