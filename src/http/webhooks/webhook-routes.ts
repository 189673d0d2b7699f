import { AppError } from "../../errors.ts";
import { doc } from "../../protocol/doc.ts";
import { Id } from "../../protocol/ids.ts";
import {
  CreateWebhook,
  DeliveriesQuestion,
  EXAMPLE_EVENT_ID,
  EXAMPLE_WEBHOOK_ID,
  Webhook,
  WebhookDelivery,
} from "../../protocol/webhook.ts";
import type { WebhookStore } from "../../webhooks/webhook-store.ts";
import type { Bearer } from "../bearer.ts";
import { BEARER, createRoute, jsonBody, jsonContent, type Middleware, PROBLEMS, type Router, z } from "../router.ts";

/** A secret for examples, of the form that Standard Webhooks gives. */
const EXAMPLE_SECRET = "whsec_ZXhhbXBsZSBleGFtcGxlIGV4YW1wbGU=";

const WebhookList = z
  .object({ webhooks: z.array(Webhook).meta(doc("All webhooks.")) })
  .meta({ id: "WebhookList", ...doc("The webhooks, without their secrets.") });
const SecretAnswer = z
  .object({
    webhook: Webhook,
    secret: z.string().meta(doc("The secret that signs deliveries. It is shown here and never again.", EXAMPLE_SECRET)),
  })
  .meta({ id: "WebhookSecret", ...doc("The webhook, and its new secret.") });
const Deliveries = z
  .object({
    deliveries: z.array(WebhookDelivery).meta(doc("The deliveries of this page, the newest first.")),
    next: z.string().optional().meta(doc("The `before` of the next page; absent on the last.", EXAMPLE_EVENT_ID)),
  })
  .meta({ id: "WebhookDeliveries", ...doc("A page of the deliveries of a webhook.") });
const Retried = z
  .object({ retried: z.number().meta(doc("How many deliveries are sent again.", 3)) })
  .meta({ id: "WebhookRetried", ...doc("What is sent again.") });
const Retry = z.object({
  eventId: Id.optional().meta(doc("The event to send again; without it all that were given up.", EXAMPLE_EVENT_ID)),
});
/** For answers with a secret: no cache on the way may keep them. */
const NO_STORE = { "cache-control": "no-store" };
const path = "/v1/webhooks/{webhookId}";
const params = z.object({ webhookId: Id.meta(doc("The webhook.", EXAMPLE_WEBHOOK_ID)) });

export interface WebhookParts {
  webhooks: WebhookStore;
  bearer: Bearer;
}

const requireAdmin: Middleware = async (c, next) => {
  if (c.var.caller.role !== "admin") throw new AppError("forbidden", "Only an admin may keep webhooks.");
  await next();
};

/** Adds the routes by which an admin keeps webhooks. */
export function addWebhookRoutes(router: Router, { webhooks, bearer }: WebhookParts): void {
  const shared = { tags: ["Webhooks"], middleware: [bearer.required, requireAdmin], security: BEARER };

  const create = createRoute({
    ...shared,
    method: "post",
    path: "/v1/webhooks",
    operationId: "createWebhook",
    summary: "Make a webhook",
    description: "The secret that signs its deliveries is in this answer and in no other, except after `rotate`.",
    request: { body: jsonBody(CreateWebhook) },
    responses: { 201: jsonContent(SecretAnswer, "The webhook was made."), ...PROBLEMS },
  });
  router.openapi(create, async (c) => c.json(await webhooks.create(c.req.valid("json")), 201, NO_STORE));

  const list = createRoute({
    ...shared,
    method: "get",
    path: "/v1/webhooks",
    operationId: "listWebhooks",
    summary: "List the webhooks",
    description: "By an admin.",
    responses: { 200: jsonContent(WebhookList, "All of them."), ...PROBLEMS },
  });
  router.openapi(list, async (c) => c.json({ webhooks: await webhooks.list() }, 200));

  const rotate = createRoute({
    ...shared,
    method: "post",
    path: `${path}/rotate`,
    operationId: "rotateWebhookSecret",
    summary: "Give a webhook another secret",
    description: "From now on deliveries are signed with it. A webhook that was disabled is on again.",
    request: { params },
    responses: { 200: jsonContent(SecretAnswer, "The webhook, and its new secret."), ...PROBLEMS },
  });
  router.openapi(rotate, async (c) => c.json(await webhooks.rotate(c.req.valid("param").webhookId), 200, NO_STORE));

  const remove = createRoute({
    ...shared,
    method: "delete",
    path,
    operationId: "deleteWebhook",
    summary: "Delete a webhook, and what waits for it",
    description: "By an admin.",
    request: { params },
    responses: { 204: { description: "The webhook is deleted." }, ...PROBLEMS },
  });
  router.openapi(remove, async (c) => {
    await webhooks.delete(c.req.valid("param").webhookId);
    return c.body(null, 204);
  });

  const deliveries = createRoute({
    ...shared,
    method: "get",
    path: `${path}/deliveries`,
    operationId: "listDeliveries",
    description: "By an admin. Settled deliveries are kept for 30 days.",
    summary: "List the deliveries of a webhook, the newest first",
    request: { params, query: DeliveriesQuestion },
    responses: { 200: jsonContent(Deliveries, "One page."), ...PROBLEMS },
  });
  router.openapi(deliveries, async (c) =>
    c.json(await webhooks.deliveries(c.req.valid("param").webhookId, c.req.valid("query")), 200),
  );

  const retry = createRoute({
    ...shared,
    method: "post",
    path: `${path}/retry`,
    operationId: "retryDeliveries",
    description: "By an admin. Deliveries that were given up.",
    summary: "Send dead deliveries again",
    request: {
      params,
      // The body is optional: without it all are sent again.
      body: { content: { "application/json": { schema: Retry } } },
    },
    responses: { 200: jsonContent(Retried, "How many are sent again."), ...PROBLEMS },
  });
  router.openapi(retry, async (c) =>
    c.json({ retried: await webhooks.retry(c.req.valid("param").webhookId, c.req.valid("json").eventId) }, 200),
  );
}
