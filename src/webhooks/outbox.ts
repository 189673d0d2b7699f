import { type Pool, write } from "../db/pool.ts";

/*
 * The deliveries that are due, and what became of them. An attempt takes its delivery for LEASE_SECONDS: if the process dies
 * meanwhile, another attempt follows, with the same id.
 */

/** Longer than an attempt may last. */
const LEASE_SECONDS = 30;
/** Settled deliveries are kept so long, for whoever looks for one. */
const KEEP_DAYS = 30;

/** A delivery whose attempt begins. */
export interface DueDelivery {
  webhookId: string;
  eventId: string;
  type: string;
  data: object;
  createdAt: Date;
  url: string;
  secret: string;
  /** Attempts with this one. */
  attempts: number;
}

/** What became of an attempt. */
export type Outcome =
  | { type: "delivered" }
  /** Another attempt follows. */
  | { type: "failed"; error: string; retryInMs: number }
  | { type: "dead"; error: string }
  /** The receiver wants nothing any more. */
  | { type: "gone" };

export interface Outbox {
  /** Takes at most `limit` deliveries that are due, the oldest of each webhook first; none of the webhooks in `busy`. */
  take(limit: number, busy: readonly string[]): Promise<DueDelivery[]>;
  settle(delivery: Pick<DueDelivery, "webhookId" | "eventId">, outcome: Outcome): Promise<void>;
  /** Removes what was settled long ago. */
  prune(): Promise<void>;
}

export function createOutbox({ pool }: { pool: Pool }): Outbox {
  return {
    async take(limit, busy) {
      const { rows } = await pool.query<DueDelivery>(
        `WITH due AS (
           SELECT d.webhook_id, d.event_id FROM webhooks AS w CROSS JOIN LATERAL (
             SELECT webhook_id, event_id, next_at FROM webhook_deliveries
             WHERE webhook_id = w.id AND state = 'waiting' AND next_at <= now()
             ORDER BY next_at, event_id LIMIT $1 FOR UPDATE SKIP LOCKED
           ) AS d WHERE w.disabled_at IS NULL AND w.id <> ALL($2) ORDER BY d.next_at LIMIT $1
         )
         UPDATE webhook_deliveries AS d SET attempts = d.attempts + 1, next_at = now() + make_interval(secs => $3)
         FROM due JOIN webhooks AS w ON w.id = due.webhook_id JOIN webhook_events AS e ON e.id = due.event_id
         WHERE d.webhook_id = due.webhook_id AND d.event_id = due.event_id
         RETURNING d.webhook_id AS "webhookId", d.event_id AS "eventId", e.type, e.data, e.created_at AS "createdAt",
           w.url, w.secret, d.attempts`,
        [limit, busy, LEASE_SECONDS],
      );
      return rows.sort((a, b) => (a.eventId < b.eventId ? -1 : 1));
    },

    async settle({ webhookId, eventId }, outcome) {
      const key = [webhookId, eventId];
      switch (outcome.type) {
        case "delivered":
          await write(
            pool,
            `UPDATE webhook_deliveries SET state = 'delivered', last_error = NULL, settled_at = now()
             WHERE webhook_id = $1 AND event_id = $2`,
            key,
          );
          return;
        case "failed":
          await write(
            pool,
            `UPDATE webhook_deliveries SET last_error = $3, next_at = now() + make_interval(secs => $4)
             WHERE webhook_id = $1 AND event_id = $2`,
            [...key, outcome.error, outcome.retryInMs / 1000],
          );
          return;
        case "dead":
          await write(
            pool,
            `UPDATE webhook_deliveries SET state = 'dead', last_error = $3, settled_at = now()
             WHERE webhook_id = $1 AND event_id = $2`,
            [...key, outcome.error],
          );
          return;
        case "gone":
          await write(
            pool,
            `WITH gone AS (UPDATE webhooks SET disabled_at = now() WHERE id = $1)
             UPDATE webhook_deliveries SET state = 'dead', last_error = 'the receiver answered 410 Gone', settled_at = now()
             WHERE webhook_id = $1 AND state = 'waiting'`,
            [webhookId],
          );
      }
    },

    async prune() {
      await pool.query("DELETE FROM webhook_deliveries WHERE settled_at < now() - make_interval(days => $1)", [
        KEEP_DAYS,
      ]);
      await pool.query(
        `DELETE FROM webhook_events AS e WHERE created_at < now() - make_interval(days => $1)
         AND NOT EXISTS (SELECT FROM webhook_deliveries AS d WHERE d.event_id = e.id)`,
        [KEEP_DAYS],
      );
    },
  };
}
