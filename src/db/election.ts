import pg from "pg";
import type { Logger } from "../logger.ts";

/*
 * One process a database for a duty: whoever holds the duty's advisory lock. The lock is its connection's, so
 * PostgreSQL gives it to the next the moment a process dies. A holder that cannot prove itself to the database, or could
 * not do its duty, gives it up. For a while there may be two who believe they hold it: a duty has to bear that.
 *
 *   candidate ──(lock)──▶ holder ──(error, silence, unable)──▶ candidate …
 */

/** Beside the gates of the writers (migrations/0003): numbers of their own. */
export const DUTIES = {
  /** Tells all processes what changed. */
  relay: [7702, 0],
  /** Keeps the mirror up. */
  mirror: [7702, 1],
} as const;
const LOOK_MS = 1000;
const ANSWER_MS = 3000;
/** What PostgreSQL waits for a holder that is unreachable, not closed: then the lock is free. */
const KEEPALIVE = `SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3; SET tcp_user_timeout = ${ANSWER_MS}`;

export interface ElectionParts {
  duty: keyof typeof DUTIES;
  /** Past any pooler: the lock belongs to a session. */
  connectionString: string;
  /** Whether the duty could be done. */
  isAble: () => boolean;
  onElected: () => void;
  onDismissed: () => void;
  logger: Logger;
}

export class Election {
  readonly #parts: ElectionParts;
  #client: pg.Client | null = null;
  #isHolder = false;
  #isStopped = false;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> = Promise.resolve();

  constructor(parts: ElectionParts) {
    this.#parts = parts;
  }

  get isHolder(): boolean {
    return this.#isHolder;
  }

  start(): void {
    this.#looking = this.#look(); // never rejects
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#leave();
    await this.#looking; // It may have been connecting; no longer than ANSWER_MS.
    await this.#leave();
  }

  async #look(): Promise<void> {
    try {
      if (this.#parts.isAble()) await this.#standOrProve();
      else await this.#leave();
    } catch (error) {
      this.#parts.logger.debug({ err: error, duty: this.#parts.duty }, "a lock could not be looked at");
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
      this.#parts.logger.debug({ err: error, duty: this.#parts.duty }, "a lock lost its connection");
      if (this.#client === client) void this.#leave(); // never rejects
    });
    await client.connect();
    this.#client = client;
    if (this.#isStopped) throw new Error("stopped while it connected");
    await client.query(KEEPALIVE);
    return client;
  }

  /** Gives up the lock with its connection. A dead one may never answer its end. */
  async #leave(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    if (this.#isHolder) {
      this.#isHolder = false;
      this.#parts.onDismissed();
    }
    const ended = client?.end().catch(() => undefined);
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, LOOK_MS).unref())]);
  }
}
