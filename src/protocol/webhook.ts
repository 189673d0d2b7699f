import { z } from "zod";
import { Id, Text } from "./ids.ts";

/*
 * Webhooks: addresses that are told of events by HTTP, signed as https://www.standardwebhooks.com says.
 */

/** The events that can be asked for. */
export const WEBHOOK_EVENTS = ["completed", "course_completed", "stream_live", "stream_ended"] as const;
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** Where deliveries go: an http or https URL without a user and password, which logs would repeat. */
export const WebhookUrl = z
  .url({ protocol: /^https?$/, error: "expected an http or https URL" })
  .max(2000)
  .refine((text) => !URL.canParse(text) || (new URL(text).username === "" && new URL(text).password === ""), {
    error: "expected no user and no password in the URL; deliveries are signed instead",
  });

export const WebhookEvents = z.array(z.enum(WEBHOOK_EVENTS)).min(1).max(WEBHOOK_EVENTS.length);

/** The body that makes a webhook. */
export const CreateWebhook = z.object({ url: WebhookUrl, events: WebhookEvents, description: Text(500).optional() });
export type CreateWebhook = z.infer<typeof CreateWebhook>;

/** A webhook, without its secret. */
export const Webhook = z.object({
  id: z.string(),
  url: z.string(),
  events: z.array(z.enum(WEBHOOK_EVENTS)),
  description: z.string(),
  createdAt: z.string(),
  /** Since when nothing is sent, because the receiver answered 410 Gone; null while it is on. */
  disabledAt: z.string().nullable(),
  /** Deliveries that wait for an attempt, and those that were given up. */
  waiting: z.number(),
  dead: z.number(),
});
export type Webhook = z.infer<typeof Webhook>;

/** One event on its way to a webhook. */
export const WebhookDelivery = z.object({
  eventId: z.string(),
  type: z.string(),
  createdAt: z.string(),
  state: z.enum(["waiting", "delivered", "dead"]),
  attempts: z.number(),
  /** When the next attempt is due; null once the delivery is settled. */
  nextAt: z.string().nullable(),
  /** Why the last attempt failed; null if it did not. */
  lastError: z.string().nullable(),
});
export type WebhookDelivery = z.infer<typeof WebhookDelivery>;

/** Which deliveries to list: the newest first, from the one after `before`. */
export const DeliveriesQuestion = z.object({
  state: z.enum(["waiting", "delivered", "dead"]).optional(),
  before: Id.optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});
export type DeliveriesQuestion = z.infer<typeof DeliveriesQuestion>;
