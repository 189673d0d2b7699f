import { setTimeout as delay } from "node:timers/promises";
import { type Pool, withTransaction } from "../db/pool.ts";
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

/** Sessions that are looked at by one statement. */
const PAGE = 500;
/** Sessions that something is stated of in one transaction. Heartbeats of their users wait for it. */
const TENDED_AT_ONCE = 20;
const PAUSE_FACTOR = 20;
const PRUNE_MS = 3600_000;
const PRUNED_AT_ONCE = 5000;
const LOWEST_ID = "00000000-0000-0000-0000-000000000000";

/** The place of a session in the order of their beginnings. */
interface Place {
  at: string;
  id: string;
}

/** The sessions of one page, and whether there is something to state of them. xapi_tend_sessions looks again, under the lock. */
const FIND = `
SELECT s.id, s.begun_at::text AS at, NOT s.stated OR coalesce(p.seen <= now() - make_interval(secs => $3), true) AS "isDue"
FROM (
  SELECT * FROM xapi_sessions WHERE (begun_at, id) > ($1::timestamptz, $2::uuid) ORDER BY begun_at, id LIMIT ${PAGE}
) AS s LEFT JOIN LATERAL (
  SELECT CASE WHEN xapi_player(p.writer_session) = s.player THEN p.beat_at ELSE coalesce(s.seen_at, p.beat_at) END AS seen
  FROM user_progress AS p WHERE p.user_id = s.user_id AND p.file_id = s.file_id OFFSET 0
) AS p ON true
ORDER BY s.begun_at, s.id`;

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
    for (let after: Place = { at: "-infinity", id: LOWEST_ID }; ; ) {
      const found = await this.#pool.query<Place & { isDue: boolean }>(FIND, [
        after.at,
        after.id,
        this.#options.idleSeconds,
      ]);
      const due = found.rows.filter(({ isDue }) => isDue).map(({ id }) => id);
      for (let i = 0; i < due.length && !signal.aborted; i += TENDED_AT_ONCE)
        await this.#tend(due.slice(i, i + TENDED_AT_ONCE));
      const last = found.rows.at(-1);
      if (last === undefined || signal.aborted) break;
      after = last;
    }
    if (performance.now() - this.#prunedAt < PRUNE_MS) return;
    await this.#prune(signal);
    this.#prunedAt = performance.now();
  }

  /** In a transaction: it refuses while an earlier commit waits for a standby, so that such commits do not pile up. */
  async #tend(ids: string[]): Promise<void> {
    await withTransaction(this.#pool, (client) =>
      client.query("SELECT xapi_tend_sessions(make_interval(secs => $1), $2)", [this.#options.idleSeconds, ids]),
    );
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
