import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { startWebhookReceiver, type WebhookReceiver } from "../../test/helpers/webhook-receiver.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { Webhook } from "../protocol/webhook.ts";
import { createWebhooks, type Webhooks } from "./create-webhooks.ts";

const DAY_MS = 24 * 3600_000;
let database: TestDatabase;
let webhooks: Webhooks;
let receiver: WebhookReceiver;
let webhook: Webhook;
const metrics = createMetrics();

beforeAll(async () => {
  database = await createTestDatabase();
  const files = ["f1", "f2"].map((id) => ({ id, title: id, durationSeconds: 10 }));
  await createCatalogueStore(database).put("c", { title: "C", lessons: [{ id: "l", title: "L", files }] });
  await database.query("INSERT INTO users (id) VALUES ('ann')");
});
afterAll(() => database.drop());

beforeEach(async () => {
  receiver = await startWebhookReceiver();
  webhooks = createWebhooks({ pool: database.pool, metrics, logger: pino({ level: "silent" }) });
  await make(["completed", "course_completed", "stream_live", "stream_ended"]);
  webhooks.start();
});
afterEach(async () => {
  await webhooks.stop();
  await receiver.close();
  await database.query("DELETE FROM webhooks");
  await database.query("DELETE FROM webhook_events");
  await database.query("DELETE FROM user_progress");
});

async function make(events: Webhook["events"]): Promise<void> {
  const made = await webhooks.store.create({ url: receiver.url, events });
  webhook = made.webhook;
  receiver.secret = made.secret;
}

const complete = (fileId: string) =>
  database.query(
    `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, watched) VALUES ('ann', $1, 'l', 'c', '{[0,10000)}')`,
    [fileId],
  );
const typesOf = () => receiver.received.map(({ event }) => event?.type);
const deliveries = async (state?: "waiting" | "delivered" | "dead") =>
  (await webhooks.store.deliveries(webhook.id, { limit: 50, ...(state === undefined ? {} : { state }) })).deliveries;

/** Makes every waiting delivery due now. */
const skipThePause = () => database.query("UPDATE webhook_deliveries SET next_at = now() WHERE state = 'waiting'");

describe("webhooks", () => {
  it("tell of a completed file and course once, signed", async () => {
    await complete("f1");
    await database.query("UPDATE user_progress SET position_ms = 1000, watch_time_ms = 99");
    await complete("f2");
    await waitFor(() => receiver.received.length === 3, { what: "three events" });
    expect(typesOf().sort()).toEqual(["completed", "completed", "course_completed"]);
    const [first] = receiver.received;
    expect(first?.event).toMatchObject({
      type: "completed",
      timestamp: expect.stringMatching(/Z$/),
      data: { userId: "ann", fileId: "f1", lessonId: "l", courseId: "c", source: "auto", epoch: 0 },
    });
    await waitFor(async () => (await deliveries("delivered")).length === 3, { what: "them to be settled" });
    expect(await metrics.registry.metrics()).toContain('playhead_webhook_attempts_total{outcome="delivered"} 3');
  });

  it("tell again of what was taken back and completed anew", async () => {
    await complete("f1");
    await database.query("UPDATE user_progress SET completed = false, watched = '{}'");
    await database.query("UPDATE user_progress SET completed = true, completion_source = 'manual'");
    await waitFor(() => receiver.received.length === 2, { what: "two events" });
    expect(receiver.received.map(({ event }) => event?.data.source).sort()).toEqual(["auto", "manual"]);
  });

  it("tell of streams that go live and end, and not of an encoder that comes back", async () => {
    await database.query(
      "INSERT INTO streams (id, user_id, title, key_hash, key_prefix) VALUES ('s', 'ann', 'Talk', sha256('k'), 'abc')",
    );
    for (const status of ["live", "reconnecting", "live", "reconnecting", "ended"])
      await database.query("UPDATE streams SET status = $1 WHERE id = 's'", [status]);
    await waitFor(() => receiver.received.length === 2, { what: "two events" });
    expect(receiver.received.map(({ event }) => event)).toMatchObject([
      { type: "stream_live", data: { streamId: "s", userId: "ann", title: "Talk", status: "live", endedAt: null } },
      { type: "stream_ended", data: { streamId: "s", status: "ended", endedAt: expect.any(String) } },
    ]);
    expect(JSON.stringify(receiver.received)).not.toContain("key");
    await database.query("DELETE FROM streams");
  });

  it("write nothing for events that nobody wants", async () => {
    await webhooks.store.delete(webhook.id);
    await make(["stream_live"]);
    await complete("f1");
    expect(await database.query("SELECT FROM webhook_events")).toEqual([]);
  });

  it("write nothing for progress that is rolled back", async () => {
    const client = await database.pool.connect();
    await client.query("BEGIN");
    await client.query(
      "INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, completed) VALUES ('ann', 'f1', 'l', 'c', true)",
    );
    await client.query("ROLLBACK");
    client.release();
    expect(await database.query("SELECT FROM webhook_events")).toEqual([]);
  });

  it("are sent again under the same id until the receiver takes them, with growing pauses", async () => {
    receiver.answer = (response) => void response.writeHead(503).end("later");
    await complete("f1");
    const pauses: number[] = [];
    for (const attempts of [1, 2, 3]) {
      await waitFor(async () => (await deliveries("waiting"))[0]?.lastError, { what: "the answer to be noted" });
      const [delivery] = await deliveries("waiting");
      expect(delivery).toMatchObject({ attempts, lastError: "the receiver answered 503" });
      pauses.push(Date.parse(delivery?.nextAt ?? "") - Date.now());
      await database.query("UPDATE webhook_deliveries SET last_error = NULL");
      await skipThePause();
    }
    expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
    receiver.answer = (response) => void response.writeHead(200).end("thanks");
    await skipThePause();
    await waitFor(async () => (await deliveries("delivered")).length === 1, { what: "the delivery" });
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(1);
    expect(receiver.received.every(({ event }) => event?.type === "completed")).toBe(true);
  });

  it("follow no redirect", async () => {
    receiver.answer = (response) => void response.writeHead(307, { location: receiver.url }).end();
    await complete("f1");
    await waitFor(async () => (await deliveries("waiting"))[0]?.lastError === "the receiver answered 307", {
      what: "it",
    });
    expect(receiver.received).toHaveLength(1);
  });

  it("are given up after three days, listed, and sent again on request", async () => {
    await receiver.close();
    await complete("f1");
    await waitFor(async () => /could not be reached/.test((await deliveries("waiting"))[0]?.lastError ?? ""), {
      what: "a try",
    });
    await database.query("UPDATE webhook_deliveries SET attempts = 15");
    const [{ pause }] = (await database.query(
      "SELECT extract(epoch FROM next_at - now()) * 1000 AS pause FROM webhook_deliveries",
    )) as [{ pause: string }];
    expect(Number(pause)).toBeLessThan(DAY_MS);
    await skipThePause();
    await waitFor(async () => (await deliveries("waiting"))[0]?.attempts === 16, { what: "the last but one" });
    await waitFor(async () => /reached/.test((await deliveries("waiting"))[0]?.lastError ?? ""), { what: "its end" });
    await database.query("UPDATE webhook_deliveries SET next_at = now()");
    await waitFor(async () => (await deliveries("dead")).length === 1, { what: "the delivery to be given up" });
    expect(await webhooks.store.list()).toMatchObject([{ id: webhook.id, dead: 1, waiting: 0 }]);
    await receiver.open();
    expect(await webhooks.store.retry(webhook.id, (await deliveries("dead"))[0]?.eventId)).toBe(1);
    await waitFor(() => receiver.received.length === 1, { what: "it to arrive" });
  });

  it("are switched off by 410 Gone, and on again by a new secret", async () => {
    receiver.answer = (response) => void response.writeHead(410).end();
    await complete("f1");
    await waitFor(async () => (await webhooks.store.list())[0]?.disabledAt, { what: "the webhook to be off" });
    await complete("f2");
    expect(await deliveries("waiting")).toEqual([]);
    const { secret, webhook: now } = await webhooks.store.rotate(webhook.id);
    expect(now.disabledAt).toBeNull();
    receiver.secret = secret;
    receiver.answer = (response) => void response.writeHead(204).end();
    const dead = (await deliveries("dead")).length;
    expect(await webhooks.store.retry(webhook.id)).toBe(dead);
    await waitFor(async () => (await deliveries("delivered")).length === dead, { what: "all of them" });
    expect(receiver.received.at(-1)?.event).not.toBeNull();
  });

  it("do not wait for another webhook whose receiver is slow", async () => {
    const slow = await startWebhookReceiver();
    slow.answer = () => undefined; // never
    await webhooks.store.create({ url: slow.url, events: ["completed"] });
    for (let i = 0; i < 40; i++)
      await database.query("SELECT announce_event('completed', jsonb_build_object('n', $1::integer))", [i]);
    await waitFor(() => receiver.received.length === 40, { what: "forty events", timeoutMs: 30_000 });
    expect(slow.received.length).toBeLessThan(40);
    await webhooks.stop();
    await slow.close();
  });

  it("are kept for a while after they are settled", async () => {
    await complete("f1");
    await waitFor(async () => (await deliveries("delivered")).length === 1, { what: "the delivery" });
    await database.query("UPDATE webhook_deliveries SET settled_at = now() - interval '31 days'");
    await database.query("UPDATE webhook_events SET created_at = now() - interval '31 days'");
    const later = createWebhooks({ pool: database.pool, metrics: createMetrics(), logger: pino({ level: "silent" }) });
    later.start();
    await waitFor(async () => (await database.query("SELECT FROM webhook_events")).length === 0, { what: "it to go" });
    await later.stop();
  });
});
