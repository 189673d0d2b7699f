import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createStreamSteps, type StreamSteps, type TestStream } from "../../test/helpers/stream-sessions.ts";
import { loadConfig } from "../config.ts";
import { createPool, type Pool, withTransaction } from "../db/pool.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { createStreams, type Streams } from "./create-streams.ts";
import type { SessionDrop } from "./sessions/session-drop.ts";

/*
 * Keys that are used again at once, around moments in which the database answers too late: a session whose end was acked
 * never stands in the way of the next one.
 */

const EDGE = { name: "edge", boot: "b1" };
const NGINX = { name: "nginx-1", boot: null };
let database: TestDatabase;
let steps: StreamSteps;
let streams: Streams;
let pool: Pool;
let drops: SessionDrop[];

beforeAll(async () => {
  database = await createTestDatabase();
  steps = createStreamSteps(database);
});
beforeEach(() => {
  drops = [];
});
afterEach(async () => {
  await streams.stop();
  await pool.end();
  const disagreements = await steps.findDisagreements();
  await database.query("DELETE FROM streams");
  expect(disagreements).toEqual([]);
});
afterAll(() => database.drop());

function open({ queryTimeoutMs }: { queryTimeoutMs: number }): void {
  const logger = createLogger({ level: "silent" });
  pool = createPool({ connectionString: database.url, max: 5, queryTimeoutMs, applicationName: "late", logger });
  const tell = (drop: SessionDrop) => void drops.push(drop);
  streams = createStreams({ config: loadConfig({}), pool, tell, metrics: createMetrics(), logger });
}

async function validate({ key }: TestStream, connectionId: string): Promise<string> {
  const verdict = await streams.gate.validate(EDGE, { streamKey: key, connectionId });
  if (!verdict.valid) throw new Error(`the key was refused: ${verdict.reason}`);
  return verdict.sessionId;
}

/** Publishes once, so that the key is cached. */
async function newKnownStream(): Promise<TestStream> {
  const stream = await steps.newStream();
  await streams.gate.ended(EDGE, await validate(stream, "known"));
  return stream;
}

/** During the work nobody else can read or write streams. */
async function whileLocked(work: () => Promise<void>): Promise<void> {
  await withTransaction(database.pool, async (client) => {
    await client.query("LOCK TABLE streams, stream_sessions");
    await work();
  });
}

/** Everything that waits is written. */
async function written(stream: TestStream): Promise<void> {
  streams.onListening();
  await expect.poll(async () => (await steps.sessionsOf(stream)).some(({ provisional }) => provisional)).toBe(true);
}

describe("a session that began and ended while the database was late", () => {
  beforeEach(() => open({ queryTimeoutMs: 500 }));

  it("leaves its stream to the next encoder, and does not end it", async () => {
    const stream = await newKnownStream();
    await whileLocked(async () => {
      const sessionId = await validate(stream, "c1");
      await streams.gate.started(EDGE, sessionId);
      await streams.gate.report(EDGE, sessionId, { viewers: 700 });
      await streams.gate.ended(EDGE, sessionId);
    });
    const next = await validate(stream, "c2");
    await streams.gate.started(EDGE, next);
    await written(stream);
    await streams.gate.report(EDGE, next, { viewers: 2 });
    expect(await steps.sessionsOf(stream)).toMatchObject([{ claim: next, state: "live", peak_viewers: 700 }]);
    expect(drops).toEqual([]);
  });

  it("does not end the session of an encoder that another process let in meanwhile", async () => {
    const stream = await newKnownStream();
    await whileLocked(async () => {
      const sessionId = await validate(stream, "c1");
      await streams.gate.started(EDGE, sessionId);
      await streams.gate.ended(EDGE, sessionId);
    });
    const other = await steps.claim(stream, "c2", { starts: true });
    streams.onListening();
    // The other process's session is asked for when everything that waited is dealt with.
    await expect(validate(stream, "c3")).rejects.toThrow("already_live");
    expect(await steps.sessionsOf(stream)).toMatchObject([{ claim: other.valid && other.sessionId, state: "live" }]);
    expect(drops).toEqual([]);
  });

  it("of nginx, whose end could not be written, leaves its stream to the next encoder", async () => {
    const stream = await newKnownStream();
    const publish = (connectionId: string) =>
      streams.gate.publish(NGINX, { streamKey: stream.key, connectionId }, { reports: true });
    expect(await publish("1")).toMatchObject({ valid: true });
    await whileLocked(() => streams.gate.unpublish(NGINX, { streamKey: stream.key, connectionId: "1" }, "unpublished"));
    expect(await publish("2")).toMatchObject({ valid: true });
  });
});

describe("a claim whose COMMIT came too late", () => {
  beforeEach(async () => {
    open({ queryTimeoutMs: 20_000 });
    // COMMIT waits while the test holds the lock.
    await database.query(`CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$`);
    await database.query(`CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT OR UPDATE ON stream_sessions
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()`);
  });
  afterEach(async () => {
    await database.query("DROP FUNCTION wait_at_commit CASCADE");
  });

  it("does not keep the stream when the encoder was let in meanwhile, and left", async () => {
    const [left, neverStarted] = [await newKnownStream(), await newKnownStream()];
    await withTransaction(database.pool, async (client) => {
      await client.query("SELECT pg_advisory_xact_lock(1)");
      await Promise.all([
        validate(neverStarted, "c1").then((sessionId) => streams.gate.ended(EDGE, sessionId)),
        validate(left, "c2").then(async (sessionId) => {
          await streams.gate.started(EDGE, sessionId);
          await streams.gate.ended(EDGE, sessionId);
        }),
      ]);
    });
    for (const stream of [left, neverStarted]) await validate(stream, "c3");
  });
});
