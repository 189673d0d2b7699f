import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { putCourse } from "../helpers/server-calls.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWebhookReceiver, type WebhookReceiver } from "../helpers/webhook-receiver.ts";

/*
 * A receiver of webhooks that is away, then slow, then right, while the server is killed: every event arrives, and each is
 * known by its id, so that a receiver which notes ids takes each once.
 */

const LEARNERS = 120;
/** Within the short pauses of the first attempts. */
const AWAY_MS = Number(process.env.RECEIVER_AWAY_MS ?? 6000);
const SLOW_MS = 300;

let database: TestDatabase;
let receiver: WebhookReceiver;
let server: ServerProcess;

beforeAll(async () => {
  database = await createTestDatabase();
  receiver = await startWebhookReceiver();
  server = await start();
  const files = [{ id: "f", title: "F", durationSeconds: 5 }];
  await putCourse(server.url, "c", { title: "C", lessons: [{ id: "l", title: "L", files }] });
});
afterAll(async () => {
  await server.kill();
  await receiver.close();
  await database.drop();
});

function start(): Promise<ServerProcess> {
  return startFlowServer({ DATABASE_URL: database.url });
}

async function complete(userId: string): Promise<void> {
  const body = JSON.stringify({
    beats: [{ fileId: "f", position: 5, played: [[0, 5]] }],
    token: await mintToken(userId),
  });
  const response = await fetch(`${server.url}/v1/heartbeats`, { method: "POST", body });
  const { results } = (await response.json()) as { results: { ok: boolean }[] };
  expect(results).toMatchObject([{ ok: true, progress: { completed: true } }]);
}

const completeAll = async (from: number, to: number) => {
  for (let i = from; i < to; i++) await complete(`learner-${i}`);
};
const seen = () => new Set(receiver.received.map(({ event }) => event?.data.userId));

it("loses no event of a receiver that is away, slow and right again, over a kill of the server", async () => {
  const token = await mintToken("root", "admin");
  const made = await fetch(`${server.url}/v1/webhooks`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ url: receiver.url, events: ["completed"] }),
  });
  const { webhook, secret } = (await made.json()) as { webhook: { id: string }; secret: string };
  expect(made.status).toBe(201);
  receiver.secret = secret;

  await completeAll(0, 40);
  await waitFor(() => seen().size >= 10, { what: "the first events" });
  await receiver.close();
  const backAt = Date.now() + AWAY_MS;
  await completeAll(40, 80);
  await waitFor(() => Date.now() > backAt, { what: "the receiver to come back", timeoutMs: AWAY_MS + 10_000 });
  receiver.answer = (response) => void setTimeout(() => response.writeHead(204).end(), SLOW_MS);
  await receiver.open();
  await waitFor(() => seen().size >= 45, { what: "events to a slow receiver", timeoutMs: 60_000 });
  // Attempts are under way: the receiver has them, and the server has not noted it.
  await server.kill();
  server = await start();
  await completeAll(80, LEARNERS);
  receiver.answer = (response) => void response.writeHead(204).end();

  const list = async () => {
    const answer = await fetch(`${server.url}/v1/webhooks`, { headers: { authorization: `Bearer ${token}` } });
    return (await answer.json()) as { webhooks: { id: string; waiting: number; dead: number }[] };
  };
  await waitFor(async () => (await list()).webhooks[0]?.waiting === 0, {
    what: "all to be delivered",
    timeoutMs: 120_000,
  });
  expect(await list()).toMatchObject({ webhooks: [{ id: webhook.id, dead: 0 }] });
  const byId = new Map(receiver.received.map(({ id, event }) => [id, event?.data.userId]));
  expect([...byId.values()].sort()).toEqual(Array.from({ length: LEARNERS }, (_, i) => `learner-${i}`).sort());
});
