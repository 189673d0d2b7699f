import { z } from "zod";
import { doc } from "./doc.ts";
import { Id, Text } from "./ids.ts";

/*
 * Webhooks: addresses that are told of events by HTTP, signed as https://www.standardwebhooks.com says.
 */

/** The events that can be asked for. */
export const WEBHOOK_EVENTS = ["completed", "course_completed", "stream_live", "stream_ended"] as const;
export const EXAMPLE_WEBHOOK_ID = "4f6d2f0e-93a1-4b7e-8d25-7c1f0a9b3e52";
export const EXAMPLE_EVENT_ID = "6b1c9f4e-2d7a-4e05-b8c3-1f90a7d2e648";
const DELIVERY_STATES = ["waiting", "delivered", "dead"] as const;
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** Where deliveries go: an http or https URL without a user and password, which logs would repeat. */
export const WebhookUrl = z
  .url({ protocol: /^https?$/, error: "expected an http or https URL" })
  .max(2000)
  .refine((text) => !URL.canParse(text) || (new URL(text).username === "" && new URL(text).password === ""), {
    error: "expected no user and no password in the URL; deliveries are signed instead",
  });

export const WebhookEvents = z.array(z.enum(WEBHOOK_EVENTS)).min(1).max(WEBHOOK_EVENTS.length);

const url = doc("Where deliveries go: an http or https URL.", "https://learning.example.org/playhead");
const events = doc("The events that are delivered.", ["completed" as const, "course_completed" as const]);
const description = doc("A note for people.", "Certificates");

/** The body that makes a webhook. */
export const CreateWebhook = z
  .object({
    url: WebhookUrl.meta(url),
    events: WebhookEvents.meta(events),
    description: Text(500).optional().meta(description),
  })
  .meta({ id: "CreateWebhook", ...doc("A new webhook.") });
export type CreateWebhook = z.infer<typeof CreateWebhook>;

/** A webhook, without its secret. */
export const Webhook = z
  .object({
    id: z.string().meta(doc("The id of the webhook.", EXAMPLE_WEBHOOK_ID)),
    url: z.string().meta(url),
    events: z.array(z.enum(WEBHOOK_EVENTS)).meta(events),
    description: z.string().meta(description),
    createdAt: z.string().meta(doc("When the webhook was made, ISO 8601.", "2026-11-20T09:00:00.000Z")),
    disabledAt: z
      .string()
      .nullable()
      .meta(doc("Since when nothing is sent, because the receiver answered 410 Gone; null while it is on.", null)),
    waiting: z.number().meta(doc("Deliveries that wait for an attempt.", 0)),
    dead: z.number().meta(doc("Deliveries that were given up.", 0)),
  })
  .meta({ id: "Webhook", ...doc("A webhook, without its secret.") });
export type Webhook = z.infer<typeof Webhook>;

/** One event on its way to a webhook. */
export const WebhookDelivery = z
  .object({
    eventId: z.string().meta(doc("The id of the event: the same at each attempt.", EXAMPLE_EVENT_ID)),
    type: z.string().meta(doc("What happened.", "completed")),
    createdAt: z.string().meta(doc("When it happened, ISO 8601.", "2026-11-21T14:17:18.034Z")),
    state: z.enum(DELIVERY_STATES).meta(doc("What became of the delivery.", "delivered")),
    attempts: z.number().meta(doc("How often it was sent.", 1)),
    nextAt: z.string().nullable().meta(doc("When the next attempt is due; null once the delivery is settled.", null)),
    lastError: z.string().nullable().meta(doc("Why the last attempt failed; null if it did not.", null)),
  })
  .meta({ id: "WebhookDelivery", ...doc("One event on its way to a webhook.") });
export type WebhookDelivery = z.infer<typeof WebhookDelivery>;

/** Which deliveries to list: the newest first, from the one after `before`. */
export const DeliveriesQuestion = z.object({
  state: z.enum(DELIVERY_STATES).optional().meta(doc("Only deliveries in this state.", "dead")),
  before: Id.optional().meta(doc("The `next` of the page before; without it the newest page.", EXAMPLE_EVENT_ID)),
  limit: z.coerce.number().int().min(1).max(200).default(50).meta(doc("The most rows of the page.", 50)),
});
export type DeliveriesQuestion = z.infer<typeof DeliveriesQuestion>;
