import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { createOutbox } from "./outbox.ts";
import { WebhookSender } from "./webhook-sender.ts";
import { createWebhookStore, type WebhookStore } from "./webhook-store.ts";

export interface Webhooks {
  store: WebhookStore;
  start(): void;
  /** Cuts attempts off; they are made again later. */
  stop(): Promise<void>;
}

/** Builds the webhooks: their store, and what sends to them. */
export function createWebhooks({ pool, metrics, logger }: { pool: Pool; metrics: Metrics; logger: Logger }): Webhooks {
  const sender = new WebhookSender({ outbox: createOutbox({ pool }), metrics, logger });
  collectWaiting(metrics, pool);
  return {
    store: createWebhookStore({ pool }),
    start: () => sender.start(),
    stop: () => sender.stop(),
  };
}

/** Counts what waits and what was given up, whenever somebody reads the figures. */
function collectWaiting(metrics: Metrics, pool: Pool): void {
  Object.assign(metrics.webhooksWaiting, {
    async collect() {
      const { rows } = await pool
        .query<{ waiting: number; dead: number }>(
          `SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'dead') AS dead
           FROM webhook_deliveries WHERE state <> 'delivered'`,
        )
        .catch(() => ({ rows: [] }));
      const [row] = rows;
      if (row === undefined) return; // the figures before stand
      metrics.webhooksWaiting.set(row.waiting);
      metrics.webhooksDead.set(row.dead);
    },
  });
}
