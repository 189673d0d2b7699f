import { expect, it, vi } from "vitest";
import { ADMIN, createApi, INSTRUCTOR } from "../../../test/helpers/http-api.ts";
import type { Webhook } from "../../protocol/webhook.ts";
import type { WebhookStore } from "../../webhooks/webhook-store.ts";

const WEBHOOK: Webhook = {
  id: "w1",
  url: "https://app.example.org/hook",
  events: ["completed"],
  description: "",
  createdAt: "2026-11-01T10:00:00.000Z",
  disabledAt: null,
  waiting: 0,
  dead: 0,
};

function createRoutes() {
  const webhooks = {
    create: vi.fn<WebhookStore["create"]>(async () => ({ webhook: WEBHOOK, secret: "whsec_x" })),
    list: vi.fn<WebhookStore["list"]>(async () => [WEBHOOK]),
    rotate: vi.fn<WebhookStore["rotate"]>(async () => ({ webhook: WEBHOOK, secret: "whsec_y" })),
    delete: vi.fn<WebhookStore["delete"]>(async () => undefined),
    deliveries: vi.fn<WebhookStore["deliveries"]>(async () => ({ deliveries: [] })),
    retry: vi.fn<WebhookStore["retry"]>(async () => 2),
  };
  return { ...createApi({ webhooks }), webhooks };
}

it("shows the secret when the webhook is made or rotated, to no cache, and never in the list", async () => {
  const { call } = createRoutes();
  const body = { url: WEBHOOK.url, events: ["completed"] };
  const made = await call("/v1/webhooks", { as: ADMIN, body });
  expect(made).toMatchObject({ status: 201, body: { webhook: WEBHOOK, secret: "whsec_x" } });
  expect(made.headers.get("cache-control")).toBe("no-store");
  expect((await call("/v1/webhooks/w1/rotate", { as: ADMIN, method: "POST" })).body).toMatchObject({
    secret: "whsec_y",
  });
  expect((await call("/v1/webhooks", { as: ADMIN })).body).toEqual({ webhooks: [WEBHOOK] });
});

it("lists and retries deliveries, and deletes a webhook", async () => {
  const { call, webhooks } = createRoutes();
  expect((await call("/v1/webhooks/w1/deliveries?state=dead", { as: ADMIN })).body).toEqual({ deliveries: [] });
  expect(webhooks.deliveries).toHaveBeenCalledWith("w1", { state: "dead", limit: 50 });
  expect((await call("/v1/webhooks/w1/retry", { as: ADMIN, body: { eventId: "evt_1" } })).body).toEqual({ retried: 2 });
  expect(webhooks.retry).toHaveBeenCalledWith("w1", "evt_1");
  expect((await call("/v1/webhooks/w1", { as: ADMIN, method: "DELETE" })).status).toBe(204);
});

it("is for admins alone", async () => {
  const { call } = createRoutes();
  for (const [path, method] of [
    ["/v1/webhooks", "GET"],
    ["/v1/webhooks", "POST"],
    ["/v1/webhooks/w1", "DELETE"],
    ["/v1/webhooks/w1/rotate", "POST"],
    ["/v1/webhooks/w1/retry", "POST"],
    ["/v1/webhooks/w1/deliveries", "GET"],
  ] as const)
    expect((await call(path, { as: INSTRUCTOR, method })).status, path).toBe(403);
});

it.each([
  ["ftp://app.example.org/hook", ["completed"]],
  ["/hook", ["completed"]],
  ["https://user:password@app.example.org/hook", ["completed"]],
  [WEBHOOK.url, []],
  [WEBHOOK.url, ["paused"]],
])("refuses the URL %s with the events %o", async (url, events) => {
  const { call, webhooks } = createRoutes();
  expect((await call("/v1/webhooks", { as: ADMIN, body: { url, events } })).status).toBe(400);
  expect(webhooks.create).not.toHaveBeenCalled();
});
