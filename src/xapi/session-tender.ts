import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";

/*
 * Tends the sessions of players, by going round over all open ones: states their beginnings, and ends those in which nothing
 * was written for a while. Removes old statements too. Rounds take at most a twentieth of the time.
 */

export interface SessionTenderOptions {
  idleSeconds: number;
  keepDays: number;
  /** The shortest pause between two rounds. */
  roundMs: number;
}

/** Sessions that are looked at, and those among them that something is stated of, in one transaction. */
const PAGE = 500;
const TENDED_AT_ONCE = 20;
const PAUSE_FACTOR = 20;
const PRUNE_MS = 3600_000;
const PRUNED_AT_ONCE = 5000;
const LOWEST_ID = "00000000-0000-0000-0000-000000000000";

/** Where a page ended; null after the last one. */
interface Place {
  at: string | null;
  id: string | null;
}

export class SessionTender {
  readonly #pool: Pool;
  readonly #logger: Logger;
  readonly #options: SessionTenderOptions;
  #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #prunedAt = Number.NEGATIVE_INFINITY;

  constructor({ pool, logger }: { pool: Pool; logger: Logger }, options: SessionTenderOptions) {
    this.#pool = pool;
    this.#logger = logger;
    this.#options = options;
  }

  start(): void {
    const before = this.#running;
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    this.#running = before.then(() => this.#run(signal));
  }

  /** Never rejects. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Never rejects. */
  async #run(signal: AbortSignal): Promise<void> {
    let isDown = false;
    while (!signal.aborted) {
      const startedAt = performance.now();
      try {
        await this.#round(signal);
        isDown = false;
      } catch (error) {
        if (!isDown) this.#logger.warn({ err: error }, "sessions of xAPI could not be tended");
        isDown = true;
      }
      const pauseMs = Math.max(this.#options.roundMs, (performance.now() - startedAt) * PAUSE_FACTOR);
      await delay(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    for (let after: Place = { at: "-infinity", id: LOWEST_ID }; after.id !== null && !signal.aborted; ) {
      const { rows }: { rows: Place[] } = await this.#pool.query(
        `SELECT last_at::text AS at, last_id AS id
         FROM xapi_tend_sessions(make_interval(secs => $1), $2, $3, $4, $5)`,
        [this.#options.idleSeconds, after.at, after.id, PAGE, TENDED_AT_ONCE],
      );
      after = rows[0] as Place;
    }
    if (performance.now() - this.#prunedAt < PRUNE_MS) return;
    await this.#prune(signal);
    this.#prunedAt = performance.now();
  }

  async #prune(signal: AbortSignal): Promise<void> {
    for (let removed = PRUNED_AT_ONCE; removed === PRUNED_AT_ONCE && !signal.aborted; ) {
      const { rowCount } = await this.#pool.query(
        `DELETE FROM xapi_statements WHERE seq IN (
           SELECT s.seq FROM xapi_statements AS s WHERE s.stored < now() - make_interval(days => $1)
             AND NOT EXISTS (SELECT FROM xapi_queue AS q WHERE q.seq = s.seq)
           ORDER BY s.stored LIMIT $2)`,
        [this.#options.keepDays, PRUNED_AT_ONCE],
      );
      removed = rowCount ?? 0;
    }
  }
}
