import { randomBytes } from "node:crypto";
import { type Pool, write } from "../db/pool.ts";
import { AppError } from "../errors.ts";
import type { CreateWebhook, DeliveriesQuestion, Webhook, WebhookDelivery } from "../protocol/webhook.ts";

/*
 * Keeps webhooks and shows their deliveries. Events get into the outbox by triggers (`announce_event`).
 */

/** Standard Webhooks asks for 24 to 64 random bytes. */
const SECRET_BYTES = 32;

export interface WebhookStore {
  /** The secret is in this answer, and in that of `rotate`, only. */
  create(webhook: CreateWebhook): Promise<{ webhook: Webhook; secret: string }>;
  list(): Promise<Webhook[]>;
  /** Gives the webhook another secret, and switches it on if it was disabled. @throws AppError `not_found`, as the others do */
  rotate(id: string): Promise<{ webhook: Webhook; secret: string }>;
  /** Deletes the webhook, and what waits for it. */
  delete(id: string): Promise<void>;
  deliveries(id: string, question: DeliveriesQuestion): Promise<{ deliveries: WebhookDelivery[]; next?: string }>;
  /** Sends dead deliveries again: one, or all. @returns how many */
  retry(id: string, eventId?: string): Promise<number>;
}

interface WebhookRow extends Omit<Webhook, "createdAt" | "disabledAt"> {
  createdAt: Date;
  disabledAt: Date | null;
}

interface DeliveryRow extends Omit<WebhookDelivery, "createdAt" | "nextAt"> {
  createdAt: Date;
  nextAt: Date | null;
}

const COLUMNS = `w.id, w.url, w.events, w.description, w.created_at AS "createdAt", w.disabled_at AS "disabledAt",
  (SELECT count(*) FROM webhook_deliveries AS d WHERE d.webhook_id = w.id AND d.state = 'waiting') AS waiting,
  (SELECT count(*) FROM webhook_deliveries AS d WHERE d.webhook_id = w.id AND d.state = 'dead') AS dead`;

export function createWebhookStore({ pool }: { pool: Pool }): WebhookStore {
  async function find(id: string): Promise<Webhook> {
    const { rows } = await pool.query<WebhookRow>(`SELECT ${COLUMNS} FROM webhooks AS w WHERE w.id = $1`, [id]);
    const [row] = rows;
    if (row === undefined) throw new AppError("not_found", "There is no webhook of this id.");
    return toWebhook(row);
  }

  return {
    async create({ url, events, description = "" }) {
      const secret = makeSecret();
      const { rows } = await write<{ id: string }>(
        pool,
        "INSERT INTO webhooks (url, events, description, secret) VALUES ($1, $2, $3, $4) RETURNING id",
        [url, [...new Set(events)], description, secret],
      );
      return { webhook: await find(rows[0]?.id as string), secret };
    },

    async list() {
      const { rows } = await pool.query<WebhookRow>(`SELECT ${COLUMNS} FROM webhooks AS w ORDER BY w.created_at, w.id`);
      return rows.map(toWebhook);
    },

    async rotate(id) {
      const secret = makeSecret();
      await write(pool, "UPDATE webhooks SET secret = $2, disabled_at = NULL WHERE id = $1", [id, secret]);
      return { webhook: await find(id), secret };
    },

    async delete(id) {
      await find(id);
      await write(pool, "DELETE FROM webhooks WHERE id = $1", [id]);
    },

    async deliveries(id, { state, before, limit }) {
      await find(id);
      // Ids of events are in the order of their time.
      const { rows } = await pool.query<DeliveryRow>(
        `SELECT d.event_id AS "eventId", e.type, e.created_at AS "createdAt", d.state, d.attempts,
           CASE WHEN d.state = 'waiting' THEN d.next_at END AS "nextAt", d.last_error AS "lastError"
         FROM webhook_deliveries AS d JOIN webhook_events AS e ON e.id = d.event_id
         WHERE d.webhook_id = $1 AND ($2::text IS NULL OR d.state = $2) AND ($3::text IS NULL OR d.event_id < $3)
         ORDER BY d.event_id DESC LIMIT $4`,
        [id, state ?? null, before ?? null, limit + 1],
      );
      const deliveries = rows.slice(0, limit).map((row) => ({
        ...row,
        createdAt: row.createdAt.toISOString(),
        nextAt: row.nextAt?.toISOString() ?? null,
      }));
      const last = deliveries.at(-1);
      return rows.length > limit && last !== undefined ? { deliveries, next: last.eventId } : { deliveries };
    },

    async retry(id, eventId) {
      await find(id);
      const { rowCount } = await write(
        pool,
        `UPDATE webhook_deliveries SET state = 'waiting', attempts = 0, next_at = now(), settled_at = NULL
         WHERE webhook_id = $1 AND state = 'dead' AND ($2::text IS NULL OR event_id = $2)`,
        [id, eventId ?? null],
      );
      if (eventId !== undefined && rowCount === 0)
        throw new AppError("not_found", "The webhook has no dead delivery of this event.");
      return rowCount ?? 0;
    },
  };
}

function makeSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString("base64")}`;
}

function toWebhook(row: WebhookRow): Webhook {
  return { ...row, createdAt: row.createdAt.toISOString(), disabledAt: row.disabledAt?.toISOString() ?? null };
}
