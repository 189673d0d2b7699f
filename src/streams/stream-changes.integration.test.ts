import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import {
  createStreamSteps,
  LEASE_SECONDS,
  type StreamSteps,
  type TestStream,
} from "../../test/helpers/stream-sessions.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { createLogger } from "../logger.ts";
import type { ClaimResult } from "./claims/claim.ts";
import { createKeyExpiry } from "./keys/key-expiry.ts";
import { hashStreamKey } from "./keys/stream-key.ts";
import { findDrops } from "./sessions/dropped-sessions-sql.ts";

/*
 * What happens to keys and sessions when a stream is changed by its owner, by psql or by the clock. Whoever changes it,
 * its session follows, and every process is notified.
 */

const EDGE = { server: "edge", boot: "b1" };
let database: TestDatabase;
let steps: StreamSteps;
let listener: pg.Client;
let heard: { channel: string; payload: string }[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  steps = createStreamSteps(database);
  listener = new pg.Client({ connectionString: database.url });
  await listener.connect();
  await listener.query("LISTEN stream_keys; LISTEN streams; LISTEN flush");
  listener.on("notification", ({ channel, payload = "" }) => heard.push({ channel, payload }));
});
beforeEach(() => {
  heard = [];
});
afterEach(async () => {
  const disagreements = await steps.findDisagreements();
  await database.query("DELETE FROM streams");
  expect(disagreements).toEqual([]);
});
afterAll(async () => {
  await listener.end();
  await database.drop();
});

function idOf(result: ClaimResult): string {
  if (!result.valid) throw new Error(`the claim was refused: ${result.reason}`);
  return result.sessionId;
}

async function newLive(settings: Parameters<StreamSteps["newStream"]>[0] = {}) {
  const stream = await steps.newStream(settings);
  const sessionId = idOf(await steps.claim(stream, "c1"));
  await steps.store.start(EDGE, sessionId, LEASE_SECONDS);
  return { stream, sessionId };
}

/** The notifications of a channel so far; they come in the order of their commits. */
async function notified(channel: string): Promise<unknown[]> {
  const mark = String(Math.random());
  await database.query("SELECT pg_notify('flush', $1)", [mark]);
  await waitFor(() => heard.some(({ payload }) => payload === mark), { what: "the notifications" });
  return heard.filter((one) => one.channel === channel).map(({ payload }) => JSON.parse(payload));
}

/** Drops the notifications so far. */
async function listenAnew(): Promise<void> {
  await notified("streams");
  heard = [];
}

async function refusal(stream: TestStream, connection = "c9"): Promise<string> {
  const result = await steps.claim(stream, connection, { server: "elsewhere" });
  return result.valid ? "none" : result.reason;
}

describe("a stream that is changed by plain SQL", () => {
  it.each(["revoked", "disabled", "expired", "ended", "ready"])(
    "ends its live session when it is set to %s",
    async (status) => {
      const { stream, sessionId } = await newLive();
      await listenAnew();
      await database.query("UPDATE streams SET status = $2 WHERE id = $1", [stream.id, status]);
      const reason = status === "ready" ? "ended" : status;
      expect(await steps.sessionsOf(stream)).toMatchObject([
        { state: "ended", end_reason: reason, drop_reason: reason, ended_at: expect.any(Date) },
      ]);
      const [session] = await database.query<{ agrees: boolean }>(
        "SELECT s.ended_at = e.ended_at AS agrees FROM streams AS s JOIN stream_sessions AS e ON e.stream_id = s.id",
      );
      expect(session).toEqual({ agrees: true });
      expect(await findDrops(database.pool, { streamIds: [stream.id] })).toEqual([
        { ...EDGE, connection: "c1", sessionId, reason },
      ]);
      expect(await notified("stream_keys")).toContainEqual({ streamId: stream.id });
      const { version } = await steps.service.get(stream.id);
      expect(await notified("streams")).toContainEqual({ keys: [[stream.id, version]] });
      expect(await refusal(stream)).toBe(["ended", "ready"].includes(status) ? "none" : status);
    },
  );

  it("ends its reserved or reconnecting session when it is revoked", async () => {
    const { stream, sessionId } = await newLive();
    await steps.store.end(EDGE, sessionId, "ended");
    await steps.claim(stream, "c2");
    const reserved = await steps.newStream();
    await steps.claim(reserved, "c1");
    await database.query("UPDATE streams SET status = 'revoked'");
    expect((await steps.sessionsOf(stream)).map(({ state }) => state)).toEqual(["ended"]);
    expect((await steps.sessionsOf(reserved)).map(({ state }) => state)).toEqual(["ended"]);
  });

  it("keeps the time at which the media ended when it is revoked while it waits for its encoder", async () => {
    const { stream, sessionId } = await newLive();
    await steps.store.end(EDGE, sessionId, "ended");
    const [before] = await steps.sessionsOf(stream);
    await database.query("UPDATE streams SET status = 'revoked'");
    expect(await steps.sessionsOf(stream)).toMatchObject([{ ended_at: before?.ended_at, end_reason: "revoked" }]);
    expect((await steps.service.get(stream.id)).endedAt).toBe(before?.ended_at?.toISOString());
  });

  it("is live again with its next report after somebody set it to reconnecting", async () => {
    const { stream, sessionId } = await newLive();
    await database.query("UPDATE streams SET status = 'reconnecting' WHERE id = $1", [stream.id]);
    await steps.store.report(EDGE, sessionId, { viewers: 1 }, LEASE_SECONDS);
    expect(await steps.statusOf(stream)).toBe("live");
  });

  it("notifies each change of its status with a higher version", async () => {
    const stream = await steps.newStream();
    let last = (await steps.service.get(stream.id)).version;
    for (const status of ["disabled", "ready", "revoked", "expired", "ready"]) {
      await listenAnew();
      await database.query("UPDATE streams SET status = $2 WHERE id = $1", [stream.id, status]);
      const { version } = await steps.service.get(stream.id);
      expect(version).toBeGreaterThan(last);
      expect(await notified("streams")).toEqual([{ keys: [[stream.id, version]] }]);
      last = version;
    }
  });

  it("is notified on stream_keys only when the worth of its key changes", async () => {
    const { sessionId } = await newLive();
    await listenAnew();
    await steps.store.report(EDGE, sessionId, { viewers: 9 }, LEASE_SECONDS);
    await database.query("UPDATE streams SET title = 'Another'");
    expect(await notified("stream_keys")).toEqual([]);
    expect(await notified("streams")).toHaveLength(2);
  });

  it("names the session to drop when it is deleted while it is live", async () => {
    const { stream, sessionId } = await newLive();
    await listenAnew();
    await database.query("DELETE FROM streams WHERE id = $1", [stream.id]);
    expect(await steps.sessionsOf(stream)).toEqual([]);
    expect(await notified("stream_keys")).toContainEqual({
      streamId: stream.id,
      drop: { ...EDGE, connection: "c1", sessionId, reason: "revoked" },
    });
    expect(await steps.claim(stream, "c2")).toEqual({ valid: false, reason: "unknown" });
    await expect(steps.store.report(EDGE, sessionId, {}, LEASE_SECONDS)).rejects.toMatchObject({ code: "not_found" });
    const at = { server: "edge", connection: "c1", keyHash: hashStreamKey(stream.key) };
    expect(await steps.store.reportConnection(at, {}, LEASE_SECONDS)).toBe("revoked");
    expect(await steps.store.reportConnection({ ...at, keyHash: null }, {}, LEASE_SECONDS)).toBeNull();
  });

  it("is deleted with its user, and names the session to drop", async () => {
    const { stream, sessionId } = await newLive({ userId: "leaver" });
    await listenAnew();
    await database.query("DELETE FROM users WHERE id = 'leaver'");
    const [{ drop }] = (await notified("stream_keys")).filter((one) => (one as { drop?: object }).drop) as [
      { drop: { sessionId: string } },
    ];
    expect(drop.sessionId).toBe(sessionId);
    const [removal] = (await notified("streams")) as { keys: [string, number][] }[];
    expect(removal?.keys[0]?.[0]).toBe(stream.id);
  });

  it("is notified with thousands of others in few notifications, and past 2,000 by one that says to read again", async () => {
    await database.query("INSERT INTO users (id) VALUES ('many') ON CONFLICT DO NOTHING");
    const insert = (count: number) =>
      database.query(
        `INSERT INTO streams (id, user_id, title, key_hash, key_prefix)
         SELECT repeat(chr(1), 110) || $1 || '-' || i, 'many', 't', sha256(random()::text::bytea), 'p' FROM generate_series(1, $1) AS i`,
        [count],
      );
    await insert(2000);
    const told = (await notified("streams")) as { keys: unknown[] }[];
    expect(told.flatMap(({ keys }) => keys)).toHaveLength(2000);
    await listenAnew();
    await insert(2001);
    expect(await notified("streams")).toEqual([{ again: true }]);
  });
});

describe("a key", () => {
  it("is refused once its stream is revoked or disabled, and good again once the stream is enabled", async () => {
    const { stream } = await newLive();
    await steps.service.disable(stream.id);
    expect(await refusal(stream)).toBe("disabled");
    await steps.service.enable(stream.id);
    expect(await steps.claim(stream, "c1")).toMatchObject({ valid: true });
    await steps.service.revoke(stream.id);
    expect(await refusal(stream)).toBe("revoked");
    await expect(steps.service.enable(stream.id)).rejects.toMatchObject({ code: "conflict" });
  });

  it("is unknown from the moment of a rotation, but its live session goes on", async () => {
    const { stream, sessionId } = await newLive();
    const { streamKey } = await steps.service.rotate(stream.id, 0);
    expect(await refusal(stream)).toBe("unknown");
    await steps.store.report(EDGE, sessionId, { viewers: 1 }, LEASE_SECONDS);
    const at = { server: "edge", connection: "c1", keyHash: hashStreamKey(stream.key) };
    await steps.pass(stream, "lease_until");
    expect(await steps.store.reportConnection(at, { mediaTimeMs: 1 }, LEASE_SECONDS)).toBeNull();
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("live");
    await steps.store.endConnection(at, "ended");
    expect(await steps.statusOf(stream)).toBe("reconnecting");
    expect(await steps.claim({ ...stream, key: streamKey }, "c2")).toMatchObject({ valid: true });
  });

  it("is good for the grace period of a rotation, and no longer", async () => {
    const { stream } = await newLive();
    const { streamKey, stream: own } = await steps.service.rotate(stream.id, 3600);
    expect(Date.parse(own.previousKeyUntil ?? "") - Date.now()).toBeGreaterThan(3_500_000);
    expect(await refusal(stream)).toBe("already_live");
    expect(await refusal({ ...stream, key: streamKey })).toBe("already_live");
    await database.query("UPDATE streams SET previous_key_until = clock_timestamp() - interval '1 ms'");
    expect(await refusal(stream)).toBe("unknown");
    expect(await refusal({ ...stream, key: streamKey })).toBe("already_live");
  });

  it("is unknown after two rotations, although both gave a grace period", async () => {
    const stream = await steps.newStream();
    await steps.service.rotate(stream.id, 3600);
    await steps.service.rotate(stream.id, 3600);
    expect(await refusal(stream)).toBe("unknown");
  });

  it("gets no grace period when it was revoked and a new key makes the stream ready", async () => {
    const { stream } = await newLive();
    await steps.service.revoke(stream.id);
    const rotated = await steps.service.rotate(stream.id, 3600);
    expect(rotated.stream).toMatchObject({ status: "ready", previousKeyUntil: null });
    expect(await refusal(stream)).toBe("unknown");
    expect(await refusal({ ...stream, key: rotated.streamKey })).toBe("none");
  });

  it("is refused from the moment it expires, before the status says so", async () => {
    const stream = await steps.newStream({ expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
    const valid = await steps.claim(stream, "c1");
    expect(valid.valid && valid.lifetimeMs).toBeGreaterThan(3_500_000);
    await database.query("UPDATE streams SET expires_at = clock_timestamp()");
    expect(await steps.statusOf(stream)).toBe("ready");
    expect(await refusal(stream)).toBe("expired");
  });

  it("is good again after it has expired when its expiry is set to later", async () => {
    const { stream } = await newLive();
    await database.query("UPDATE streams SET status = 'expired', expires_at = clock_timestamp()");
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    expect(await steps.service.change(stream.id, { expiresAt })).toMatchObject({ status: "ready" });
    expect(await refusal(stream)).toBe("none");
  });
});

describe("the timer of expiries", () => {
  const expiry = () => createKeyExpiry({ pool: database.pool, logger: createLogger({ level: "silent" }) });

  it("ends a live session when its key expires, and not before", async () => {
    const timer = expiry();
    const { stream } = await newLive();
    await database.query("UPDATE streams SET expires_at = clock_timestamp() + interval '400 ms'");
    timer.arm();
    await waitFor(async () => (await steps.statusOf(stream)) === "expired", { what: "the key to expire" });
    timer.stop();
    const [row] = await database.query<{ late: number }>(
      "SELECT extract(epoch FROM updated_at - expires_at)::float8 AS late FROM streams WHERE id = $1",
      [stream.id],
    );
    expect(row?.late).toBeGreaterThanOrEqual(0);
    expect(await steps.sessionsOf(stream)).toMatchObject([{ state: "ended", drop_reason: "expired" }]);
  });

  it("expires other streams although one is locked, and that one when its lock is released", async () => {
    const timer = expiry();
    const locked = await steps.newStream();
    const free = await steps.newStream();
    await database.query("UPDATE streams SET expires_at = clock_timestamp()");
    const client = await database.pool.connect();
    await client.query("BEGIN");
    await client.query("UPDATE streams SET title = 'Held' WHERE id = $1", [locked.id]);
    timer.arm();
    await waitFor(async () => (await steps.statusOf(free)) === "expired", { what: "the free one to expire" });
    await client.query("COMMIT");
    client.release();
    await waitFor(async () => (await steps.statusOf(locked)) === "expired", { what: "the other to expire" });
    timer.stop();
  });
});

describe("a frequent statement", () => {
  it("reads no more rows, however long the history is", async () => {
    const stream = await steps.newStream();
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query(
      `INSERT INTO streams (id, user_id, title, key_hash, key_prefix)
       SELECT 'other-' || i, 'ines', 't', sha256(i::text::bytea), 'p' FROM generate_series(1, 5000) AS i`,
    );
    // Many sessions of other streams, and many of this stream.
    await client.query(
      `INSERT INTO stream_sessions
         (stream_id, claim, server, boot, connection, key_hash, state, started_at, ended_at, end_reason, claimed_at, drop_reason)
       SELECT CASE WHEN i % 4 = 0 THEN $1 ELSE 'other-' || (1 + i % 5000) END, gen_random_uuid()::text, 'edge', 'b1', i::text,
         sha256(i::text::bytea), 'ended', now() - interval '2 days', now() - interval '1 day', 'ended', now() - interval '2 days',
         CASE WHEN i % 100 = 0 THEN 'revoked' END FROM generate_series(1, 20000) AS i`,
      [stream.id],
    );
    await client.query("ANALYZE streams, stream_sessions");
    await client.end();
    await waitFor(async () => (await readRows()).some(({ rows }) => rows >= 20_000), {
      what: "what that cost to be counted",
    });
    await countReads();
    await database.query("SELECT pg_stat_reset()");
    const at = { server: "edge", connection: "unknown", keyHash: hashStreamKey("nobody's") };
    await findDrops(database.pool, { streamIds: [stream.id] });
    await findDrops(database.pool, EDGE);
    await findDrops(database.pool, "all");
    await steps.deadlines.findDue();
    await steps.deadlines.findNextDueMs();
    await steps.store.reportConnection(at, {}, LEASE_SECONDS);
    await steps.store.endConnection({ ...at, keyHash: null }, "ended");
    await steps.claim(stream, "unknown", { boot: null, starts: true });
    const expiry = createKeyExpiry({ pool: database.pool, logger: createLogger({ level: "silent" }) });
    expiry.arm();
    await steps.claim(stream, "another");
    expiry.stop();
    await countReads();
    expect((await readRows()).filter(({ rows }) => rows > 1000)).toEqual([]);
  });

  /** What was read is counted when a connection is asked to, or a second later. */
  async function countReads(): Promise<void> {
    const flush = () => database.query("SELECT pg_stat_force_next_flush(), pg_sleep(0.05)");
    await Promise.all(Array.from({ length: 10 }, flush));
  }

  /** How many rows were read, by table and index. */
  function readRows(): Promise<{ name: string; rows: number }[]> {
    return database.query(
      `SELECT relname AS name, seq_tup_read AS rows FROM pg_stat_user_tables WHERE relname IN ('streams', 'stream_sessions')
       UNION ALL
       SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE relname IN ('streams', 'stream_sessions')`,
    );
  }
});
