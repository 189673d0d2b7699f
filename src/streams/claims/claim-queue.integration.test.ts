import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../../test/helpers/database.ts";
import { CLAIM_OF_EDGE, createStreamSteps, type StreamSteps } from "../../../test/helpers/stream-sessions.ts";
import { createPool, type Pool } from "../../db/pool.ts";
import { isConnectionError } from "../../db/sqlstate.ts";
import { createLogger } from "../../logger.ts";
import { KeyCache } from "../keys/key-cache.ts";
import { readKnownKeys } from "../keys/known-key-sql.ts";
import { hashStreamKeyToHex } from "../keys/stream-key.ts";
import type { ClaimResult } from "./claim.ts";
import { ClaimQueue } from "./claim-queue.ts";
import type { KeyClaim } from "./claim-waiters.ts";
import { ClaimWriter } from "./claim-writer.ts";

/*
 * Many claims at once on a real database. Claims that share a batch are decided as if each had come alone, and a claim
 * that fails does no harm to others.
 */

const APPLICATION = "claim-queue-test";
let database: TestDatabase;
let steps: StreamSteps;
let pool: Pool;
let keys: KeyCache;
let queue: ClaimQueue;
/** Every statement that the queue's pool sent. */
let statements: string[];

beforeAll(async () => {
  database = await createTestDatabase();
  steps = createStreamSteps(database);
});
beforeEach(() => {
  const logger = createLogger({ level: "silent" });
  const given = { connectionString: database.url, max: 10, queryTimeoutMs: 5000, applicationName: APPLICATION, logger };
  pool = createPool(given);
  statements = [];
  pool.on("connect", (client) => {
    const query = client.query.bind(client) as (...parameters: unknown[]) => unknown;
    client.query = ((...parameters: unknown[]) => {
      const [first] = parameters as [string | { text: string }];
      statements.push((typeof first === "string" ? first : first.text).trim());
      return query(...parameters);
    }) as typeof client.query;
  });
  keys = new KeyCache({ readKeys: (hashes) => readKnownKeys(pool, hashes) });
  queue = new ClaimQueue({ pool, keys, writer: new ClaimWriter({ pool }, { defaultReconnectSeconds: 60 }), logger });
});
afterEach(async () => {
  await pool.end();
  const disagreements = await steps.findDisagreements();
  await database.query("DELETE FROM streams");
  expect(disagreements).toEqual([]);
});
afterAll(() => database.drop());

function ask(key: string, connection: string, more: Partial<KeyClaim> = {}): Promise<ClaimResult> {
  return queue.ask(hashStreamKeyToHex(key), {
    ...CLAIM_OF_EDGE,
    connection,
    ...more,
  });
}

const newStreams = (count: number) => Promise.all(Array.from({ length: count }, () => steps.newStream()));
const countTransactions = () => statements.filter((text) => text === "begin").length;
const areValid = (results: ClaimResult[]) => results.map(({ valid }) => valid);

/** Another connection, with a transaction open. */
async function openTransaction(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query("BEGIN");
  return client;
}

describe("claims that share a batch", () => {
  it("are written in few transactions", async () => {
    const streams = await newStreams(200);
    const results = await Promise.all(streams.map(({ key }, i) => ask(key, `c${i}`)));
    expect(areValid(results)).toEqual(streams.map(() => true));
    expect(countTransactions()).toBeLessThanOrEqual(3);
    for (const stream of streams) expect(await steps.sessionsOf(stream)).toMatchObject([{ state: "reserved" }]);
  });

  it("give one key to exactly one of fifty connections, and refuse the others without a transaction each", async () => {
    const { key } = await steps.newStream();
    const results = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(key, `c${i}`)));
    expect(results.filter(({ valid }) => valid)).toHaveLength(1);
    expect(results.filter((result) => !result.valid && result.reason === "already_live")).toHaveLength(49);
    expect(countTransactions()).toBeLessThanOrEqual(3);
  });

  it("give one session to a connection that asks many times", async () => {
    const stream = await steps.newStream();
    const results = await Promise.all(Array.from({ length: 20 }, () => ask(stream.key, "c1")));
    expect(new Set(results.map((result) => result.valid && result.sessionId)).size).toBe(1);
    expect(await steps.sessionsOf(stream)).toHaveLength(1);
  });

  it("may begin, resume, take over, be refused or start, each as if it came alone", async () => {
    const [fresh, left, taken, held, revoked, hook] = await Promise.all([
      steps.newStream(),
      steps.newStream(),
      steps.newStream({ policy: "takeover" }),
      steps.newStream(),
      steps.newStream(),
      steps.newStream(),
    ]);
    await steps.claim(left, "c1", { starts: true });
    await steps.store.endConnection({ server: "edge", connection: "c1", keyHash: null }, "ended");
    await steps.claim(taken, "c2", { starts: true });
    await steps.claim(held, "c3", { starts: true });
    await steps.service.revoke(revoked.id);
    const results = await Promise.all([
      ask(fresh.key, "d0"),
      ask(left.key, "d1"),
      ask(taken.key, "d2"),
      ask(held.key, "d3"),
      ask(revoked.key, "d4"),
      ask(hook.key, "d5", { starts: true }),
      ask("nobody's", "d6"),
    ]);
    expect(results).toMatchObject([
      { valid: true, stream: { status: "ready" }, ousted: null },
      { valid: true, stream: { status: "reconnecting" }, ousted: null },
      { valid: true, stream: { status: "ended" }, ousted: { connection: "c2", reason: "taken_over" } },
      { valid: false, reason: "already_live" },
      { valid: false, reason: "revoked" },
      { valid: true, stream: { status: "live" } },
      { valid: false, reason: "unknown" },
    ]);
  });

  it("derive the boots of a server that cannot tell them apart as claims would alone", async () => {
    const streams = await newStreams(5);
    const nginx = { server: "nginx-1", boot: null, starts: true, mayOust: "other servers" } as const;
    const publish = () => Promise.all(streams.map(({ key }, i) => ask(key, `${i + 1}`, nginx)));
    expect(areValid(await publish())).toEqual(streams.map(() => true));
    expect(areValid(await publish())).toEqual(streams.map(() => true));
    for (const stream of streams) {
      expect(await steps.sessionsOf(stream)).toMatchObject([{ boot: "2", state: "live", connections: 2 }]);
    }
  });
});

describe("a claim that changes nothing", () => {
  it("is answered without a transaction, whether the connection is live or another one holds the stream", async () => {
    const streams = await newStreams(30);
    const claimed = await Promise.all(streams.map(({ key }, i) => ask(key, `c${i}`, { starts: true })));
    const before = await database.query("SELECT xmin, xmax, ctid, claim FROM stream_sessions ORDER BY claim");
    statements = [];
    const again = await Promise.all(streams.map(({ key }, i) => ask(key, `c${i}`)));
    const others = await Promise.all(streams.map(({ key }, i) => ask(key, `d${i}`)));
    expect(again.map((result) => result.valid && result.sessionId)).toEqual(
      claimed.map((result) => result.valid && result.sessionId),
    );
    expect(others.every((result) => !result.valid && result.reason === "already_live")).toBe(true);
    expect(await database.query("SELECT xmin, xmax, ctid, claim FROM stream_sessions ORDER BY claim")).toEqual(before);
    expect(countTransactions()).toBe(0);
    expect(statements.length).toBeLessThanOrEqual(8);
  });

  it("is answered by what the database says now: a key that was just revoked is refused", async () => {
    const stream = await steps.newStream();
    await ask(stream.key, "c1", { starts: true });
    await database.query("UPDATE streams SET title = 'Renamed'");
    expect(await ask(stream.key, "c1")).toMatchObject({ valid: true, stream: { title: "Renamed", status: "live" } });
    await steps.service.revoke(stream.id);
    expect(await ask(stream.key, "c1")).toEqual({ valid: false, reason: "revoked" });
  });

  it("finds a key that was made a moment after it was refused as unknown", async () => {
    expect(await ask("phk_later", "c1")).toEqual({ valid: false, reason: "unknown" });
    const stream = await steps.newStream();
    await database.query("UPDATE streams SET key_hash = sha256('phk_later')");
    expect(await ask("phk_later", "c1")).toMatchObject({ valid: true, stream: { id: stream.id } });
  });

  it("accepts the old key during the grace period of a rotation, and not after it", async () => {
    const stream = await steps.newStream();
    await steps.service.rotate(stream.id, 60);
    expect(await ask(stream.key, "c1")).toMatchObject({ valid: true });
    await database.query("UPDATE streams SET previous_key_until = clock_timestamp()");
    expect(await ask(stream.key, "c1")).toEqual({ valid: false, reason: "unknown" });
  });
});

describe("a flood of wrong keys", () => {
  it("costs few statements, and right keys beside it are valid", async () => {
    const streams = await newStreams(10);
    const wrong = Promise.all(Array.from({ length: 5000 }, (_, i) => ask(`wrong-${i}`, `w${i}`)));
    const right = await Promise.all(streams.map(({ key }, i) => ask(key, `c${i}`)));
    expect(areValid(right)).toEqual(streams.map(() => true));
    expect((await wrong).every((result) => !result.valid && result.reason === "unknown")).toBe(true);
    expect(statements.length).toBeLessThanOrEqual(50);
    for (let i = 0; i < 5000; i++) if (keys.find(hashStreamKeyToHex(`wrong-${i}`)) !== undefined) expect.fail();
  });
});

describe("a claim that fails", () => {
  it("fails alone, and the others of its batch succeed", async () => {
    const streams = await newStreams(20);
    const results = await Promise.allSettled(
      streams.map(({ key }, i) => ask(key, `c${i}`, { app: i === 7 ? "a\u0000b" : "live" })),
    );
    expect(results.map(({ status }) => status)).toEqual(streams.map((_, i) => (i === 7 ? "rejected" : "fulfilled")));
    expect(results[7]).toMatchObject({ reason: { code: "22021" } });
    expect(await database.query("SELECT FROM stream_sessions")).toHaveLength(19);
  });

  it("does not hold up others while its stream is locked, and is answered when the lock is released", async () => {
    const streams = await newStreams(20);
    const other = await openTransaction();
    await other.query("SELECT FROM streams WHERE id = $1 FOR UPDATE", [streams[3]?.id]);
    const results = streams.map(({ key }, i) => ask(key, `c${i}`));
    const held = results.splice(3, 1)[0] as Promise<ClaimResult>;
    expect(areValid(await Promise.all(results))).toEqual(results.map(() => true));
    const next = await steps.newStream();
    expect(await ask(next.key, "n")).toMatchObject({ valid: true });
    expect(await Promise.race([held, "waiting"])).toBe("waiting");
    await other.query("COMMIT");
    await other.end();
    expect(await held).toMatchObject({ valid: true });
  });

  it("claims nothing after its caller was told that time is up", async () => {
    const stream = await steps.newStream();
    const other = await openTransaction();
    await other.query("SELECT FROM streams FOR UPDATE");
    const startAt = performance.now();
    await expect(ask(stream.key, "c1")).rejects.toMatchObject({ code: "ETIMEDOUT" });
    expect(performance.now() - startAt).toBeLessThan(3100);
    await other.query("COMMIT");
    await other.end();
    expect(await ask(stream.key, "c2")).toMatchObject({ valid: true });
    expect(await steps.sessionsOf(stream)).toMatchObject([{ connection: "c2" }]);
  });

  it("fails with its whole batch when the database goes away, and nothing of the batch is claimed", async () => {
    const streams = await newStreams(20);
    const other = await openTransaction();
    // Sessions can be read but not written.
    await other.query("LOCK TABLE stream_sessions IN SHARE MODE");
    const results = Promise.allSettled(streams.map(({ key }, i) => ask(key, `c${i}`)));
    await expect
      .poll(() =>
        database.query("SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", [
          APPLICATION,
        ]),
      )
      .toHaveLength(1);
    await database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", [
      APPLICATION,
    ]);
    for (const result of await results) {
      expect(result.status === "rejected" && isConnectionError(result.reason)).toBe(true);
    }
    await other.query("COMMIT");
    await other.end();
    expect(await database.query("SELECT FROM stream_sessions")).toEqual([]);
    expect(areValid(await Promise.all(streams.map(({ key }, i) => ask(key, `c${i}`))))).toEqual(
      streams.map(() => true),
    );
  });
});
