import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createStreamSteps, type StreamSteps } from "../../test/helpers/stream-sessions.ts";
import { loadConfig } from "../config.ts";
import { createPool, type Pool } from "../db/pool.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { createStreams, type Streams } from "./create-streams.ts";
import type { MediaServer, PublishRequest } from "./publish-gate.ts";
import type { SessionDrop } from "./sessions/session-drop.ts";

/*
 * The gate for media servers that ask by HTTP. They keep no session ids and name connection and key, and some cannot
 * tell their boots apart.
 */

const NGINX: MediaServer = { name: "nginx-1", boot: null };
const REPORTS = { reports: true };
let database: TestDatabase;
let steps: StreamSteps;
let pool: Pool;
let streams: Streams;
let drops: SessionDrop[];

beforeAll(async () => {
  database = await createTestDatabase();
  steps = createStreamSteps(database);
});
beforeEach(() => {
  drops = [];
  const logger = createLogger({ level: "silent" });
  pool = createPool({ connectionString: database.url, max: 5, queryTimeoutMs: 2000, applicationName: "gate", logger });
  streams = createStreams({
    config: loadConfig({ STREAM_LEASE_SECONDS: "30", STREAM_SILENT_LEASE_SECONDS: "3600" }),
    pool,
    tell: (drop) => void drops.push(drop),
    metrics: createMetrics(),
    logger,
  });
});
afterEach(async () => {
  await streams.stop();
  if (!pool.ended) await pool.end();
  const disagreements = await steps.findDisagreements();
  await database.query("DELETE FROM streams");
  expect(disagreements).toEqual([]);
});
afterAll(() => database.drop());

const request = (streamKey: string, connectionId: string, more: Partial<PublishRequest> = {}): PublishRequest => ({
  streamKey,
  connectionId,
  app: "live",
  clientIp: "192.0.2.7",
  protocol: "rtmp",
  ...more,
});
const at = (streamKey: string | null, connectionId: string) => ({ streamKey, connectionId, app: "live" });

async function lease(stream: { id: string }): Promise<number> {
  const [row] = await database.query<{ seconds: number }>(
    "SELECT extract(epoch FROM lease_until - clock_timestamp())::float8 AS seconds FROM stream_sessions WHERE stream_id = $1 AND state = 'live'",
    [stream.id],
  );
  return row?.seconds ?? 0;
}

describe("a media server that asks by HTTP", () => {
  it("is live once it is accepted, with a lease that fits how often it reports", async () => {
    const [reporting, silent] = [await steps.newStream(), await steps.newStream()];
    const verdict = await streams.gate.publish(NGINX, request(reporting.key, "1"), REPORTS);
    expect(verdict).toMatchObject({ valid: true, stream: { status: "live" } });
    await streams.gate.publish(NGINX, request(silent.key, "2"), { reports: false });
    expect(await lease(reporting)).toBeLessThanOrEqual(30);
    expect(await lease(silent)).toBeGreaterThan(3500);
    await streams.gate.update(NGINX, at(reporting.key, "1"), {}, { everySeconds: 60 });
    expect(await lease(reporting)).toBeGreaterThan(170);
  });

  it("ends its own publication, but not by the end of a refused second encoder", async () => {
    const stream = await steps.newStream();
    await streams.gate.publish(NGINX, request(stream.key, "1"), REPORTS);
    expect(await streams.gate.publish(NGINX, request(stream.key, "2"), REPORTS)).toMatchObject({
      reason: "already_live",
    });
    await streams.gate.unpublish(NGINX, at(stream.key, "2"), "unpublished");
    await streams.gate.unpublish({ name: "nginx-2", boot: null }, at(stream.key, "1"), "unpublished");
    await streams.gate.unpublish(NGINX, at("nobody's", "1"), "unpublished");
    expect(await steps.statusOf(stream)).toBe("live");
    await streams.gate.unpublish(NGINX, at(stream.key, "1"), "unpublished");
    expect(await steps.statusOf(stream)).toBe("reconnecting");
  });

  it("ends its publication although it names the connection alone", async () => {
    const stream = await steps.newStream();
    await streams.gate.publish(NGINX, request(stream.key, "1"), REPORTS);
    await streams.gate.unpublish(NGINX, at(null, "1"), "unpublished");
    expect(await steps.statusOf(stream)).toBe("reconnecting");
  });

  it("goes on although its key was rotated while it published", async () => {
    const stream = await steps.newStream();
    await streams.gate.publish(NGINX, request(stream.key, "1"), REPORTS);
    await steps.service.rotate(stream.id, 0);
    streams.onKeyChanged(JSON.stringify({ streamId: stream.id }));
    await steps.pass(stream, "lease_until");
    expect(await streams.gate.update(NGINX, at(stream.key, "1"), { mediaTimeMs: 5000 })).toBeNull();
    expect(await lease(stream)).toBeGreaterThan(25);
    expect(await streams.gate.publish(NGINX, request(stream.key, "2"), REPORTS)).toMatchObject({ reason: "unknown" });
    await streams.gate.unpublish(NGINX, at(stream.key, "1"), "unpublished");
    expect(await steps.statusOf(stream)).toBe("reconnecting");
  });

  it.each(["revoked", "disabled", "expired"])("is told to cut a publisher whose key is %s", async (status) => {
    const stream = await steps.newStream();
    await streams.gate.publish(NGINX, request(stream.key, "1"), REPORTS);
    expect(await streams.gate.update(NGINX, at(stream.key, "1"), {})).toBeNull();
    await database.query("UPDATE streams SET status = $1", [status]);
    expect(await streams.gate.update(NGINX, at(stream.key, "1"), {})).toBe(status);
  });

  it("cuts a publisher while the database is away only if the cached key is refused, and its ends are accepted", async () => {
    const [good, revoked] = [await steps.newStream(), await steps.newStream()];
    await streams.gate.publish(NGINX, request(good.key, "1"), REPORTS);
    await streams.gate.publish(NGINX, request(revoked.key, "2"), REPORTS);
    await database.query("UPDATE streams SET status = 'revoked' WHERE id = $1", [revoked.id]);
    expect(await streams.gate.publish(NGINX, request(revoked.key, "3"), REPORTS)).toMatchObject({ reason: "revoked" });
    streams.onKeyChanged(JSON.stringify({ streamId: revoked.id }));
    await expect.poll(() => drops).toHaveLength(1);
    await pool.end();
    expect(await streams.gate.update(NGINX, at(good.key, "1"), {})).toBeNull();
    expect(await streams.gate.update(NGINX, at("nobody's", "1"), {})).toBeNull();
    await streams.gate.unpublish(NGINX, at(good.key, "1"), "unpublished");
  });

  it("is refused with texts that PostgreSQL cannot hold, and no message repeats the key", async () => {
    const stream = await steps.newStream();
    for (const field of ["app", "clientIp", "protocol"]) {
      const asked = streams.gate.publish(NGINX, request(stream.key, "1", { [field]: "a\u0000" }), REPORTS);
      await expect(asked).rejects.toMatchObject({ code: "bad_request", message: expect.stringContaining(field) });
    }
    expect(await steps.sessionsOf(stream)).toEqual([]);
  });
});

describe("a session that has to be dropped", () => {
  it("is told to the media server once, however often it is notified", async () => {
    const stream = await steps.newStream();
    const verdict = await streams.gate.publish(NGINX, request(stream.key, "1"), REPORTS);
    await steps.service.revoke(stream.id);
    for (let i = 0; i < 5; i++) streams.onKeyChanged(JSON.stringify({ streamId: stream.id }));
    await expect.poll(() => drops).toHaveLength(1);
    streams.onListening();
    streams.onListening();
    streams.onKeyChanged(JSON.stringify({ streamId: stream.id }));
    await streams.gate.update(NGINX, at(stream.key, "1"), {});
    expect(drops).toEqual([
      {
        server: "nginx-1",
        boot: "1",
        connection: "1",
        sessionId: verdict.valid && verdict.sessionId,
        reason: "revoked",
      },
    ]);
  });

  it("is told when the listener listens again, although its notification was lost", async () => {
    streams.onListening();
    const stream = await steps.newStream();
    await streams.gate.publish(NGINX, request(stream.key, "1"), REPORTS);
    await steps.service.revoke(stream.id);
    streams.onListening();
    await expect.poll(() => drops).toMatchObject([{ reason: "revoked" }]);
  });

  it("is not told at a start, because media servers are told when they connect", async () => {
    const stream = await steps.newStream();
    await steps.claim(stream, "c1", { starts: true });
    await steps.service.revoke(stream.id);
    streams.onListening();
    await expect.poll(() => streams.findDrops({ name: "edge", boot: "b1" })).toMatchObject([{ reason: "revoked" }]);
    expect(drops).toEqual([]);
  });

  it("of a server that cannot drop a publisher gives way only to another server", async () => {
    const stream = await steps.newStream({ policy: "takeover" });
    await streams.gate.publish(NGINX, request(stream.key, "1"), REPORTS);
    expect(await streams.gate.publish(NGINX, request(stream.key, "2"), REPORTS)).toMatchObject({
      reason: "already_live",
    });
    const other = await streams.gate.publish({ name: "nginx-2", boot: null }, request(stream.key, "1"), REPORTS);
    expect(other).toMatchObject({ valid: true, stream: { status: "live" } });
    expect(drops).toMatchObject([{ server: "nginx-1", connection: "1", reason: "taken_over" }]);
  });
});
