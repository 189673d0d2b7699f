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
 * Many claims at once against a real database: what shares a batch is decided as if each had come alone, and what goes
 * wrong with one is no other's.
 */

const APPLICATION = "claim-queue-test";
let database: TestDatabase;
let steps: StreamSteps;
let pool: Pool;
let keys: KeyCache;
let queue: ClaimQueue;
/** By what they begin with. */
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
const countOf = (beginning: string) => statements.filter((text) => text.startsWith(beginning)).length;
const areValid = (results: ClaimResult[]) => results.map(({ valid }) => valid);

/** A connection of somebody else's, with a transaction open. */
async function openTransaction(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query("BEGIN");
  return client;
}

describe("claims that share a batch", () => {
  it("are written in one transaction", async () => {
    const streams = await newStreams(200);
    const results = await Promise.all(streams.map(({ key }, i) => ask(key, `c${i}`)));
    expect(areValid(results)).toEqual(streams.map(() => true));
    expect(countOf("INSERT INTO stream_sessions")).toBeLessThanOrEqual(3);
    for (const stream of streams) expect(await steps.sessionsOf(stream)).toMatchObject([{ state: "reserved" }]);
  });

  it("give one key to exactly one of fifty, and the others wait for no batch of their own", async () => {
    const { key } = await steps.newStream();
    const results = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(key, `c${i}`)));
    expect(results.filter(({ valid }) => valid)).toHaveLength(1);
    expect(results.filter((result) => !result.valid && result.reason === "already_live")).toHaveLength(49);
    expect(countOf("INSERT INTO stream_sessions")).toBe(1);
    expect(countOf("begin")).toBeLessThanOrEqual(3);
  });

  it("give the same connection that asks many times one session", async () => {
    const stream = await steps.newStream();
    const results = await Promise.all(Array.from({ length: 20 }, () => ask(stream.key, "c1")));
    expect(new Set(results.map((result) => result.valid && result.sessionId)).size).toBe(1);
    expect(await steps.sessionsOf(stream)).toHaveLength(1);
  });

  it("each have their own fate: begun, resumed, taken over, refused, started", async () => {
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

  it("tell one boot of a server that cannot say so from the next, as they would alone", async () => {
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

describe("what changes nothing", () => {
  it("is answered without a write: who is on air, and who is refused for it", async () => {
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
    expect(countOf("begin")).toBe(0);
    expect(statements.length).toBeLessThanOrEqual(8);
  });

  it("is read for every answer: what was revoked, renamed or ended a moment ago is known", async () => {
    const stream = await steps.newStream();
    await ask(stream.key, "c1", { starts: true });
    await database.query("UPDATE streams SET title = 'Renamed'");
    expect(await ask(stream.key, "c1")).toMatchObject({ valid: true, stream: { title: "Renamed", status: "live" } });
    await steps.service.revoke(stream.id);
    expect(await ask(stream.key, "c1")).toEqual({ valid: false, reason: "revoked" });
  });

  it("finds a key that is made a moment after it was asked for", async () => {
    expect(await ask("phk_later", "c1")).toEqual({ valid: false, reason: "unknown" });
    const stream = await steps.newStream();
    await database.query("UPDATE streams SET key_hash = sha256('phk_later')");
    expect(await ask("phk_later", "c1")).toMatchObject({ valid: true, stream: { id: stream.id } });
  });

  it("takes the old key for as long as a rotation lets it be good", async () => {
    const stream = await steps.newStream();
    await steps.service.rotate(stream.id, 60);
    expect(await ask(stream.key, "c1")).toMatchObject({ valid: true });
    await database.query("UPDATE streams SET previous_key_until = clock_timestamp()");
    expect(await ask(stream.key, "c1")).toEqual({ valid: false, reason: "unknown" });
  });
});

describe("a flood of wrong keys", () => {
  it("costs a few reads, and right keys among them wait for nothing else", async () => {
    const streams = await newStreams(10);
    const wrong = Promise.all(Array.from({ length: 5000 }, (_, i) => ask(`wrong-${i}`, `w${i}`)));
    const right = await Promise.all(streams.map(({ key }, i) => ask(key, `c${i}`)));
    expect(areValid(right)).toEqual(streams.map(() => true));
    expect((await wrong).every((result) => !result.valid && result.reason === "unknown")).toBe(true);
    expect(countOf("SELECT k.i")).toBeLessThanOrEqual(10);
    for (let i = 0; i < 5000; i++) if (keys.find(hashStreamKeyToHex(`wrong-${i}`)) !== undefined) expect.fail();
  });
});

describe("what goes wrong with one", () => {
  it("fails that one, and no other of its batch", async () => {
    const streams = await newStreams(20);
    const results = await Promise.allSettled(
      streams.map(({ key }, i) => ask(key, `c${i}`, { app: i === 7 ? "a\u0000b" : "live" })),
    );
    expect(results.map(({ status }) => status)).toEqual(streams.map((_, i) => (i === 7 ? "rejected" : "fulfilled")));
    expect(results[7]).toMatchObject({ reason: { code: "22021" } });
    expect(await database.query("SELECT FROM stream_sessions")).toHaveLength(19);
  });

  it("keeps no other waiting where somebody holds its stream, and it is answered when it is let go", async () => {
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

  it("claims nothing for whoever was told that it takes too long", async () => {
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

  it("fails all whose database is gone in the middle of their batch, and claims nothing of them", async () => {
    const streams = await newStreams(20);
    const other = await openTransaction();
    // Sessions can be read, and not be written.
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
