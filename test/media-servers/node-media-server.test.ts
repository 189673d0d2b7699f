import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { CreateStream, Stream, StreamSession } from "../../src/protocol/stream.ts";
import { type Encoder, type EncoderEnd, startEncoder } from "../helpers/encoder.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type GuardedMediaServer, startGuardedMediaServer } from "../helpers/guarded-media-server.ts";
import { startTestPostgres, type TestPostgres } from "../helpers/postgres.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { createStreamsApi, type StreamsApi } from "../helpers/streams-api.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type WatchedStream, watchStream } from "../helpers/watched-stream.ts";

/*
 * A real node-media-server with `playhead/rtmp/node-media-server`, real encoders, and a Playhead that is ended and
 * loses its database meanwhile.
 */

const SECRET = "only-these-flows-know-it";
const REPORT_INTERVAL_MS = 1000;
/** By when a refused or cut encoder has to be gone. */
const GONE_WITHIN_MS = 2000;

interface House {
  postgres: TestPostgres;
  query: Query;
  environment: Record<string, string>;
  server: ServerProcess;
  media: GuardedMediaServer;
  api: StreamsApi;
}

let house: House;
const encoders: Encoder[] = [];
const watched: WatchedStream[] = [];
const keys: string[] = [];

async function openHouse(env: Record<string, string> = {}): Promise<House> {
  const postgres = await startTestPostgres();
  const environment = {
    PORT: await findFreePort(),
    DATABASE_URL: postgres.url,
    // The one before is still good: secrets are changed one media server at a time.
    RTMP_SECRETS: `the-next-one,${SECRET}`,
    MAX_STREAMS_PER_USER: "1000",
    QUERY_TIMEOUT_MS: "1500",
    ...env,
  };
  const server = await startFlowServer(environment);
  return {
    postgres,
    query: queryOf(postgres.url),
    environment,
    server,
    media: await startMedia(server.url),
    api: createStreamsApi({ url: server.url, token: await mintToken("ines", "instructor") }),
  };
}

function startMedia(url: string): Promise<GuardedMediaServer> {
  return startGuardedMediaServer({ url, secret: SECRET, reportIntervalMs: REPORT_INTERVAL_MS, keyFromQuery: true });
}

async function closeHouse({ server, media, postgres }: House): Promise<void> {
  // What nobody may find a key in.
  const written = server.process.stdout() + server.process.stderr() + media.said();
  await media.stop();
  await server.kill();
  await postgres.stop();
  expect(keys.filter((key) => written.includes(key))).toEqual([]);
  keys.length = 0;
}

afterEach(async () => {
  await Promise.all(encoders.splice(0).map((encoder) => encoder.kill()));
  for (const dashboard of watched.splice(0)) dashboard.close();
});

interface Made {
  id: string;
  key: string;
  dashboard: WatchedStream;
}

/** A stream, its key, and a dashboard that shows it. */
async function makeStream(settings: Partial<CreateStream> = {}): Promise<Made> {
  const { stream, streamKey } = await house.api.create(settings);
  keys.push(streamKey);
  const dashboard = await watchStream({ url: house.server.url, token: await mintToken("bob"), streamId: stream.id });
  watched.push(dashboard);
  return { id: stream.id, key: streamKey, dashboard };
}

function publish({ id, key }: Pick<Made, "id" | "key">): Encoder {
  const encoder = startEncoder(`${house.media.rtmpUrl}/${id}?key=${key}`);
  encoders.push(encoder);
  return encoder;
}

async function publishLive(made: Made): Promise<Encoder> {
  const encoder = publish(made);
  await made.dashboard.until("live");
  await encoder.sendsOn(300);
  return encoder;
}

async function expectRefused(encoder: Encoder): Promise<EncoderEnd> {
  const end = await encoder.exited;
  expect(end.code).toBeGreaterThan(0);
  expect(end.afterMs).toBeLessThan(GONE_WITHIN_MS);
  return end;
}

async function expectCut(encoder: Encoder, { id, dashboard }: Made, status: Stream["status"]): Promise<void> {
  const cutAt = performance.now();
  expect((await encoder.exited).code).toBeGreaterThan(0);
  expect(performance.now() - cutAt).toBeLessThan(GONE_WITHIN_MS);
  await dashboard.until(status);
  expect(await sessionsOf(id)).toMatchObject([{ state: "ended" }]);
}

type Row = Pick<StreamSession, "state" | "connections" | "provisional"> & { boot: string; connection: string };

function sessionsOf(streamId: string): Promise<Row[]> {
  return house.query<Row>(
    "SELECT state, connections, provisional, boot, connection FROM stream_sessions WHERE stream_id = $1 ORDER BY id",
    [streamId],
  );
}

/** Waits until the media server has reported the publisher again. */
async function untilReported(streamId: string): Promise<void> {
  const before = await readLease(streamId);
  await waitFor(async () => (await readLease(streamId)) > before, {
    what: "the lease to be renewed",
    timeoutMs: 30_000,
  });
}

async function readLease(streamId: string): Promise<number> {
  const [row] = await house.query<{ at: Date }>(
    "SELECT lease_until AS at FROM stream_sessions WHERE stream_id = $1 AND state = 'live'",
    [streamId],
  );
  return row?.at.getTime() ?? 0;
}

describe("node-media-server", () => {
  beforeAll(async () => {
    house = await openHouse();
  });
  afterAll(() => closeHouse(house));

  it("lets a right key publish, and dashboards see it live within a second, then its bitrate", async () => {
    const made = await makeStream();
    expect(made.dashboard.stream()?.status).toBe("ready");
    const encoder = publish(made);
    await waitFor(() => encoder.sentMs() > 0, { what: "media" });
    expect(await made.dashboard.until("live")).toBeLessThan(1000);
    const bitrate = await waitFor(() => made.dashboard.stream()?.bitrateKbps, { what: "the bitrate" });
    expect(bitrate).toBeGreaterThan(10);
    expect(bitrate).toBeLessThan(5000);
    await untilReported(made.id);
    expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "live", connections: 1, provisional: false }]);
  });

  it("refuses a wrong, an expired, a revoked and a disabled key, and the encoder ends with an error", async () => {
    await expectRefused(publish({ id: "wrong", key: "phk_nobody-has-this-key" }));
    await expectRefused(publish({ id: "none", key: "" }));
    await expectRefused(publish({ id: "long", key: "x".repeat(10_000) }));

    const expired = await makeStream({ expiresAt: new Date(Date.now() + 1500).toISOString() });
    await expired.dashboard.until("expired");
    await expectRefused(publish(expired));

    const revoked = await makeStream();
    await house.api.revoke(revoked.id);
    await expectRefused(publish(revoked));

    const disabled = await makeStream();
    await house.api.disable(disabled.id);
    await expectRefused(publish(disabled));
    for (const { id } of [expired, revoked, disabled]) expect(await sessionsOf(id)).toEqual([]);
    const reasons = house.media.refusals().map(({ reason }) => reason);
    expect(reasons).toEqual(["unknown", "no_key", "bad_request", "expired", "revoked", "disabled"]);

    // Its name is held for 30 s for the encoder that was refused; that does not keep it out.
    await house.api.enable(disabled.id);
    await publishLive(disabled);
  });

  it("cuts the encoder of a live key that is revoked, disabled or expires", async () => {
    const revoked = await makeStream();
    const disabled = await makeStream();
    const expiring = await makeStream({ expiresAt: new Date(Date.now() + 8000).toISOString() });
    const third = await publishLive(expiring);
    const first = await publishLive(revoked);
    const second = await publishLive(disabled);
    await house.api.revoke(revoked.id);
    await expectCut(first, revoked, "revoked");
    await house.api.disable(disabled.id);
    await expectCut(second, disabled, "disabled");
    await expiring.dashboard.until("expired");
    await expectCut(third, expiring, "expired");
    // It is final at once, also for an encoder that comes back.
    await expectRefused(publish(revoked));
    expect(revoked.dashboard.statuses()).toEqual(["ready", "live", "revoked"]);
  });

  it("refuses a second encoder, under the same name and under another; the first stays live", async () => {
    const made = await makeStream();
    const first = await publishLive(made);
    const before = await sessionsOf(made.id);
    await expectRefused(publish(made));
    await expectRefused(publish({ id: "another-name", key: made.key }));
    await first.sendsOn();
    await untilReported(made.id);
    expect(await sessionsOf(made.id)).toEqual(before);
    expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
  });

  it("gives the stream to a second encoder where its policy is takeover", async () => {
    const made = await makeStream({ policy: "takeover" });
    const first = await publishLive(made);
    const second = publish({ id: "another-name", key: made.key });
    await first.exited;
    await house.media.refused("taken_over");
    await second.sendsOn();
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "ended" }, { state: "live" }]);
  });

  it("gives it to one of the same name at its next attempt: node-media-server has refused the first one itself", async () => {
    const made = await makeStream({ policy: "takeover" });
    const first = await publishLive(made);
    await expectRefused(publish(made));
    await first.exited;
    const again = publish(made);
    await again.sendsOn();
    await made.dashboard.until("live");
    expect(again.running()).toBe(true);
  });

  it("keeps one session for an encoder that is killed and comes back", async () => {
    const made = await makeStream();
    const first = await publishLive(made);
    await first.kill();
    await made.dashboard.until("reconnecting");
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "reconnecting", connections: 1 }]);
    const second = await publishLive(made);
    await second.sendsOn();
    await untilReported(made.id);
    expect(made.dashboard.statuses()).toEqual(["ready", "live", "reconnecting", "live"]);
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "live", connections: 2 }]);
  });

  it("ends a stream whose encoder ended, where it waits for none, 30 s before donePublish", async () => {
    const made = await makeStream({ reconnectWindowSeconds: 0 });
    const encoder = await publishLive(made);
    await encoder.kill("SIGINT");
    await made.dashboard.until("ended");
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "ended", connections: 1 }]);
  });
});

describe("node-media-server that is killed while a stream is live", () => {
  beforeEach(async () => {
    house = await openHouse({ STREAM_LEASE_SECONDS: "4" });
  });
  afterEach(() => closeHouse(house));

  it("lets its encoder in at once when it is there again", async () => {
    const made = await makeStream();
    const first = await publishLive(made);
    await house.media.kill();
    await first.exited;
    house.media = await startMedia(house.server.url);
    const again = publish(made);
    await again.sendsOn();
    await made.dashboard.until("live");
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "live", connections: 2 }]);
  });

  it("loses its stream by the end of the lease", async () => {
    const made = await makeStream({ reconnectWindowSeconds: 0 });
    await publishLive(made);
    await house.media.kill();
    await made.dashboard.until("ended", 30_000);
  });
});

describe("Playhead that is killed while a stream is live", () => {
  beforeAll(async () => {
    house = await openHouse({ STREAM_LEASE_SECONDS: "5" });
  });
  afterAll(() => closeHouse(house));

  it("does not end the stream, refuses new ones meanwhile, and has its status right again", async () => {
    const made = await makeStream();
    const other = await makeStream();
    const encoder = await publishLive(made);
    const before = await sessionsOf(made.id);
    await house.server.kill();
    // It waits for Playhead a while, and is refused then.
    expect((await publish(other).exited).code).toBeGreaterThan(0);
    await house.media.refused("unreachable");
    // Longer than the lease: nobody could renew it.
    await encoder.sendsOn(7000);
    house.server = await startFlowServer(house.environment);
    await made.dashboard.until("live");
    await untilReported(made.id);
    expect(await sessionsOf(made.id)).toEqual(before);
    expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
    await encoder.sendsOn();
    // What the crash took with it is there again: a revoked key is cut.
    await house.api.revoke(made.id);
    await expectCut(encoder, made, "revoked");
    await publishLive(other);
  });

  it("hears of an encoder's end when it is back", async () => {
    const made = await makeStream();
    const encoder = await publishLive(made);
    await house.server.kill();
    await encoder.kill();
    house.server = await startFlowServer(house.environment);
    await made.dashboard.until("reconnecting");
    await publishLive(made);
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "live", connections: 2 }]);
  });

  it("stops and starts without a stream noticing", async () => {
    const made = await makeStream();
    const encoder = await publishLive(made);
    const before = await sessionsOf(made.id);
    await house.server.stop();
    house.server = await startFlowServer(house.environment);
    await untilReported(made.id);
    expect(await sessionsOf(made.id)).toEqual(before);
    expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
    await encoder.sendsOn();
  });
});

describe("PostgreSQL that goes away while a stream is live", () => {
  beforeAll(async () => {
    house = await openHouse({ STREAM_LEASE_SECONDS: "5" });
  });
  afterAll(() => closeHouse(house));

  it("cuts nobody, admits a key that is known, refuses one that is not, and is right afterwards", async () => {
    const live = await makeStream();
    const known = await makeStream({ reconnectWindowSeconds: 0 });
    const unknown = await makeStream();
    const encoder = await publishLive(live);
    const before = await sessionsOf(live.id);
    await (await publishLive(known)).kill();
    await known.dashboard.until("ended");

    await house.postgres.killImmediately();
    await waitFor(async () => (await fetch(`${house.server.url}/readyz`)).status === 503, { what: "the outage" });
    expect((await publish(unknown).exited).code).toBeGreaterThan(0);
    const admitted = publish(known);
    await admitted.sendsOn();
    // Longer than the lease.
    await encoder.sendsOn(7000);
    expect(admitted.running()).toBe(true);

    await house.postgres.startAgain();
    await known.dashboard.until("live", 20_000);
    await untilReported(live.id);
    expect(await sessionsOf(live.id)).toEqual(before);
    expect(await sessionsOf(known.id)).toMatchObject([
      { state: "ended", provisional: false },
      { state: "live", provisional: true },
    ]);
    expect(await sessionsOf(unknown.id)).toEqual([]);
    await encoder.sendsOn();
    await admitted.sendsOn();
    await publishLive(unknown);
  });
});
