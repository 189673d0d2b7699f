import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { type RecordStoreStandIn, startRecordStore } from "../../test/helpers/record-store-stand-in.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { type AnyStatement, verbOf } from "../../test/helpers/xapi-rules.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { Forwarder } from "./forwarder.ts";
import { createRecordStore } from "./record-store.ts";
import { createStatementQueue } from "./statement-queue.ts";
import { createStatementStore } from "./statement-store.ts";

const NAMES = { base: "https://learn.example.org", homePage: "https://learn.example.org" };
const OPTIONS = { lookMs: 20, pauseMs: 10, maxPauseMs: 50 };
const TIMEOUT_MS = 1000;

let database: TestDatabase;
let lrs: RecordStoreStandIn;
let forwarder: Forwarder;
const metrics = createMetrics();

beforeAll(async () => {
  database = await createTestDatabase();
  const files = [{ id: "f", title: "F", durationSeconds: 100 }];
  await createCatalogueStore(database).put("c", { title: "C", lessons: [{ id: "l", title: "L", files }] });
  await database.query("INSERT INTO settings VALUES ('xapi', 'forward')");
});
afterAll(() => database.drop());
beforeEach(async () => {
  lrs = await startRecordStore();
  forwarder = createForwarder(lrs.url);
});
afterEach(async () => {
  await forwarder.stop();
  await lrs.close();
  await database.query("DELETE FROM users");
});

function createForwarder(url: string, auth?: string): Forwarder {
  const { pool } = database;
  const queue = createStatementQueue({ pool });
  const store = createRecordStore({ url, auth }, { timeoutMs: TIMEOUT_MS });
  const logger = pino({ level: "silent" });
  return new Forwarder({ queue, store, names: NAMES, metrics, logger }, OPTIONS);
}

/** Lets so many learners begin, complete the file and leave, in turns: four statements each. */
async function watch(count: number, prefix = "u"): Promise<void> {
  const ids = Array.from({ length: count }, (_, i) => `${prefix}${i}`);
  await database.query("INSERT INTO users (id) SELECT unnest($1::text[])", [ids]);
  await database.query(
    `INSERT INTO user_progress (user_id, file_id, writer_session, last_watched, beat_at)
     SELECT id, 'f', 's', now(), now() - interval '1 h' FROM unnest($1::text[]) AS id`,
    [ids],
  );
  await database.query(
    "UPDATE user_progress SET watched = '{[0,95000)}', position_ms = 95000, last_watched = now() WHERE user_id = ANY($1)",
    [ids],
  );
  await database.query("SELECT xapi_tend_sessions('2 min', ARRAY(SELECT id FROM xapi_sessions))");
}

const waiting = async () => (await database.query("SELECT FROM xapi_queue WHERE refused_at IS NULL")).length;
const refused = () => createStatementStore(database, NAMES).refused({ limit: 200 });
const isDone = () => waitFor(async () => (await waiting()) === 0, { what: "the queue to be empty", timeoutMs: 60_000 });
const isOf = (userId: string, verb: string) => (statement: AnyStatement) =>
  statement.actor.account.name === userId && verbOf(statement) === verb;
/** By learner, the verbs in the order of their arrival. */
function arrived(): Record<string, string> {
  const byUser: Record<string, string[]> = {};
  for (const statement of lrs.taken) {
    const userId: string = statement.actor.account.name;
    byUser[userId] = [...(byUser[userId] ?? []), verbOf(statement)];
  }
  return Object.fromEntries(Object.entries(byUser).map(([userId, verbs]) => [userId, verbs.join(" ")]));
}
const WHOLE = "initialized completed paused terminated";

describe("the forwarder", () => {
  it("sends every statement once, in the order of each learner, many in one request", async () => {
    await watch(100);
    forwarder.start();
    await isDone();
    expect(lrs.taken).toHaveLength(400);
    expect(new Set(Object.values(arrived()))).toEqual(new Set([WHOLE]));
    expect(lrs.posts.length).toBeLessThan(10);
    await watch(1, "later");
    await isDone();
    expect(arrived().later0).toBe(WHOLE);
    expect(lrs.problems()).toEqual([]);
    expect(await metrics.registry.metrics()).toContain('playhead_lrs_requests_total{outcome="taken"}');
  });

  it("waits for a store that is away", async () => {
    await lrs.close();
    await watch(30);
    forwarder.start();
    const failed = async () =>
      (await metrics.lrsRequests.get()).values.find(({ labels }) => labels.outcome === "failed");
    await waitFor(async () => ((await failed())?.value ?? 0) >= 10, { what: "ten attempts" });
    expect(await waiting()).toBe(120);
    await lrs.open();
    await isDone();
    expect((await refused()).refused).toEqual([]);
    expect(Object.values(arrived())).toEqual(Array(30).fill(WHOLE));
    expect(lrs.problems()).toEqual([]);
  });

  it.each([401, 403, 404, 429, 500, 503])(
    "puts nothing aside while the store answers %i to everything",
    async (status) => {
      lrs.answer = () => status;
      await watch(5);
      forwarder.start();
      await waitFor(() => lrs.posts.length >= 25, { what: "many attempts" });
      expect(await waiting()).toBe(20);
      lrs.answer = () => null;
      await isDone();
      expect(lrs.taken).toHaveLength(20);
      expect(lrs.problems()).toEqual([]);
    },
  );

  it.each([400, 413, 422])(
    "puts the one statement aside that the store refuses with %i, and lists it",
    async (status) => {
      lrs.answer = (statements) => (statements.some(isOf("u7", "completed")) ? status : null);
      await watch(20);
      forwarder.start();
      await isDone();
      expect(lrs.taken).toHaveLength(79);
      expect(arrived().u7).toBe("initialized paused terminated");
      const list = await refused();
      expect(list.refused).toMatchObject([
        { statement: { verb: { id: "http://adlnet.gov/expapi/verbs/completed" } }, refusedAt: expect.any(String) },
      ]);
      // The stand-in repeats the header that it was sent.
      expect(list.refused[0]?.error).toContain(`the store answered ${status}: refused, for`);
      expect(list.refused[0]?.error).not.toContain(Buffer.from(lrs.auth).toString("base64"));
      lrs.answer = () => null;
      const store = createStatementStore(database, NAMES);
      expect(await store.retry(list.refused[0]?.statement.id)).toBe(1);
      await isDone();
      expect(lrs.taken).toHaveLength(80);
      await expect(store.retry(list.refused[0]?.statement.id)).rejects.toMatchObject({ code: "not_found" });
    },
  );

  it.each([
    ["answers 500 to", 500 as const],
    ["answers 403 to", 403 as const],
    ["does not answer", "never" as const],
  ])("puts a statement aside that the store %s again and again, while it takes others", async (_, answer) => {
    lrs.answer = (statements) => (statements.some(isOf("u1", "paused")) ? answer : null);
    await watch(4);
    forwarder.start();
    await isDone();
    expect(arrived().u1).toBe("initialized completed terminated");
    expect(lrs.taken).toHaveLength(15);
    expect((await refused()).refused).toHaveLength(1);
  });

  it("holds on to the last statement that the store fails over: nobody waits behind it", async () => {
    lrs.answer = (statements) => (statements.some(isOf("u0", "terminated")) ? 500 : null);
    await watch(1);
    forwarder.start();
    await waitFor(() => lrs.posts.length >= 20, { what: "many attempts" });
    expect(await waiting()).toBe(1);
    await watch(1, "next");
    await isDone();
    expect(arrived().next0).toBe(WHOLE);
    expect((await refused()).refused).toHaveLength(1);
  });

  it("takes a conflict for an id that has arrived before", async () => {
    await watch(3);
    forwarder.start();
    await isDone();
    const sent = lrs.taken.length;
    // The answers were lost, and the title has changed, so that the store sees other content.
    await database.query("INSERT INTO xapi_queue SELECT seq FROM xapi_statements");
    await database.query("UPDATE xapi_statements SET title = 'Another'");
    await isDone();
    expect(lrs.taken).toHaveLength(sent);
    expect((await refused()).refused).toEqual([]);
  });

  it("slows down where the store refuses one statement after another", async () => {
    lrs.answer = () => 400;
    await watch(100);
    forwarder.start();
    await waitFor(async () => (await refused()).refused.length >= 20, { what: "the first refusals" });
    lrs.answer = () => null;
    await isDone();
    expect((await refused()).refused.length).toBeLessThan(150);
  });

  it("repeats with the same ids what was cut off by its end, and another one goes on", async () => {
    lrs.answer = () => "never";
    await watch(2);
    forwarder.start();
    await waitFor(() => lrs.posts.length >= 1, { what: "an attempt" });
    await forwarder.stop();
    lrs.answer = () => null;
    forwarder = createForwarder(lrs.endpoint, lrs.auth);
    forwarder.start();
    await isDone();
    const [first] = lrs.posts as [AnyStatement[]];
    expect(lrs.taken.map(({ id }) => id)).toEqual(first.map(({ id }) => id));
  });

  it("forgets the statements of a user who is deleted", async () => {
    lrs.answer = () => 503;
    await watch(2);
    forwarder.start();
    await waitFor(() => lrs.posts.length >= 1, { what: "an attempt" });
    await database.query("DELETE FROM users WHERE id = 'u0'");
    lrs.answer = () => null;
    await isDone();
    expect(arrived().u1).toBe(WHOLE);
  });
});
