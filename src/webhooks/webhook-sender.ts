import { setMaxListeners } from "node:events";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { DueDelivery, Outbox } from "./outbox.ts";
import { sendDelivery } from "./send-delivery.ts";

/*
 * Sends what is in the outbox. Every process does: an attempt takes its delivery first, so no two processes send the same.
 * Each webhook has few attempts under way, so a slow receiver holds up its own events alone.
 */

const LOOK_MS = 1000;
const AT_ONCE = 64;
/** Attempts under way for one webhook. */
const AT_ONCE_EACH = 8;
const PRUNE_MS = 3600_000;

export interface WebhookSenderParts {
  outbox: Outbox;
  metrics: Pick<Metrics, "webhookAttempts">;
  logger: Logger;
}

export class WebhookSender {
  readonly #parts: WebhookSenderParts;
  /** Attempts under way, by webhook. */
  readonly #under = new Map<string, number>();
  readonly #attempts = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  #isStopped = true;
  #isDown = false;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> = Promise.resolve();
  #prunedAt = Number.NEGATIVE_INFINITY;

  constructor(parts: WebhookSenderParts) {
    this.#parts = parts;
    setMaxListeners(AT_ONCE, this.#stopping.signal);
  }

  start(): void {
    this.#isStopped = false;
    this.#lookIn(0);
  }

  /** Ends the attempts under way; they are made again after their lease. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopping.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#looking;
    await Promise.all(this.#attempts);
  }

  #lookIn(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#looking = this.#look();
    }, ms).unref();
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    let taken = 0;
    try {
      taken = await this.#takeDue();
      this.#isDown = false;
    } catch (error) {
      if (!this.#isDown) this.#parts.logger.warn({ err: error }, "the outbox of webhooks could not be read");
      this.#isDown = true;
    }
    // A full batch: there may be more.
    if (!this.#isStopped) this.#lookIn(taken > 0 && this.#attempts.size < AT_ONCE ? 0 : LOOK_MS);
  }

  async #takeDue(): Promise<number> {
    const { outbox } = this.#parts;
    if (performance.now() - this.#prunedAt > PRUNE_MS) {
      await outbox.prune();
      this.#prunedAt = performance.now();
    }
    const busy = [...this.#under].filter(([, count]) => count >= AT_ONCE_EACH).map(([id]) => id);
    const room = Math.min(AT_ONCE_EACH, AT_ONCE - this.#attempts.size);
    if (room <= 0) return 0;
    const due = await outbox.take(room, busy);
    for (const delivery of due) {
      const attempt = this.#attempt(delivery).finally(() => this.#attempts.delete(attempt));
      this.#attempts.add(attempt);
    }
    return due.length;
  }

  /** Never rejects. */
  async #attempt(delivery: DueDelivery): Promise<void> {
    const { webhookId, eventId } = delivery;
    const { outbox, metrics, logger } = this.#parts;
    this.#under.set(webhookId, (this.#under.get(webhookId) ?? 0) + 1);
    try {
      const outcome = await sendDelivery(delivery, this.#stopping.signal);
      // The attempt was cut off by the stop: it counts for nothing.
      if (this.#stopping.signal.aborted && outcome.type !== "delivered") return;
      metrics.webhookAttempts.inc({ outcome: outcome.type });
      if (outcome.type === "dead" || outcome.type === "gone")
        logger.warn({ webhookId, eventId, outcome: outcome.type }, "an event could not be delivered to a webhook");
      await outbox.settle(delivery, outcome);
    } catch (error) {
      logger.warn({ err: error, webhookId, eventId }, "what became of a webhook's delivery could not be written");
    } finally {
      const left = (this.#under.get(webhookId) ?? 1) - 1;
      if (left > 0) this.#under.set(webhookId, left);
      else this.#under.delete(webhookId);
    }
  }
}
