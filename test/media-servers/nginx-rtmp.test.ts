import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { CreateStream, Stream, StreamSession } from "../../src/protocol/stream.ts";
import { type Encoder, type EncoderEnd, startEncoder } from "../helpers/encoder.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type Nginx, startNginx } from "../helpers/nginx.ts";
import { startTestPostgres, type TestPostgres } from "../helpers/postgres.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { createStreamsApi, type StreamsApi } from "../helpers/streams-api.ts";
import { mintToken } from "../helpers/tokens.ts";
import { requireTool, TOOLS } from "../helpers/tools.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type WatchedStream, watchStream } from "../helpers/watched-stream.ts";

/*
 * A real nginx with the configuration of docs/media-servers/nginx-rtmp.md, real encoders, and a Playhead that is
 * ended and loses its database meanwhile.
 */

const SECRET = "only-these-flows-know-it";
const SHORT_UPDATES = { "notify_update_timeout 10s": "notify_update_timeout 1s" };
/** By when a refused or cut encoder has to be gone. */
const GONE_WITHIN_MS = 5000;

interface House {
  postgres: TestPostgres;
  query: Query;
  port: string;
  environment: Record<string, string>;
  server: ServerProcess;
  nginx: Nginx;
  api: StreamsApi;
}

let house: House;
const encoders: Encoder[] = [];
const watched: WatchedStream[] = [];
const keys: string[] = [];

interface HouseOptions {
  /** Playhead knows nginx's control URL. */
  controlled: boolean;
  /** nginx says with each start that it is one. */
  boots?: boolean;
  /** nginx's configuration, other than the page's. */
  changes?: Record<string, string>;
  env?: Record<string, string>;
}

/** PostgreSQL, nginx and Playhead. */
async function openHouse(options: HouseOptions): Promise<House> {
  const { controlled, boots = false, changes = SHORT_UPDATES, env = {} } = options;
  const postgres = await startTestPostgres();
  const port = await findFreePort();
  const nginx = await startNginx({
    playhead: `127.0.0.1:${port}`,
    secret: SECRET,
    server: "edge-1",
    boots,
    changes,
  });
  const environment = {
    PORT: port,
    DATABASE_URL: postgres.url,
    HOOK_SECRETS: `nginx-rtmp:${SECRET}`,
    MAX_STREAMS_PER_USER: "1000",
    QUERY_TIMEOUT_MS: "1500",
    ...(controlled ? { NGINX_CONTROL_URLS: `edge-1=${nginx.controlUrl}` } : {}),
    ...env,
  };
  const server = await startFlowServer(environment);
  return {
    postgres,
    query: queryOf(postgres.url),
    port,
    environment,
    server,
    nginx,
    api: createStreamsApi({ url: server.url, token: await mintToken("alice") }),
  };
}

async function closeHouse({ server, nginx, postgres }: House): Promise<void> {
  // What nobody may find a key in.
  const written = nginx.errors() + server.process.stdout() + server.process.stderr();
  await server.kill();
  await nginx.stop();
  await postgres.stop();
  expect(keys.filter((key) => written.includes(key))).toEqual([]);
  keys.length = 0;
}

afterEach(async () => {
  await Promise.all(encoders.splice(0).map((encoder) => encoder.kill()));
  for (const dashboard of watched.splice(0)) dashboard.close();
});

/** A stream, its key, and a dashboard that shows it. */
async function makeStream(settings: Partial<CreateStream> = {}) {
  const { stream, streamKey } = await house.api.create(settings);
  keys.push(streamKey);
  const dashboard = await watchStream({
    url: house.server.url,
    token: await mintToken("bob"),
    streamId: stream.id,
  });
  watched.push(dashboard);
  return { id: stream.id, key: streamKey, dashboard };
}

/** Starts an encoder; `behind` stands behind the key, as in `?name=other`. */
function publish(key: string, behind = ""): Encoder {
  const encoder = startEncoder(`${house.nginx.rtmpUrl}/${key}${behind}`);
  encoders.push(encoder);
  return encoder;
}

async function publishLive(made: { key: string; dashboard: WatchedStream }): Promise<Encoder> {
  const encoder = publish(made.key);
  await made.dashboard.until("live");
  await encoder.sendsOn(300);
  return encoder;
}

async function expectRefused(encoder: Encoder): Promise<EncoderEnd> {
  const end = await encoder.exited;
  expect(end).toMatchObject({ code: 1, stderr: expect.stringContaining("Input/output error") });
  expect(end.afterMs).toBeLessThan(GONE_WITHIN_MS);
  expect(encoder.sentMs()).toBe(0);
  return end;
}

type Row = Pick<StreamSession, "state" | "connections" | "provisional"> & { boot: string; connection: string };

function sessionsOf(streamId: string): Promise<Row[]> {
  return house.query<Row>(
    "SELECT state, connections, provisional, boot, connection FROM stream_sessions WHERE stream_id = $1 ORDER BY id",
    [streamId],
  );
}

async function readLease(streamId: string): Promise<number> {
  const [row] = await house.query<{ at: Date }>(
    "SELECT lease_until AS at FROM stream_sessions WHERE stream_id = $1 AND state = 'live'",
    [streamId],
  );
  return row?.at.getTime() ?? 0;
}

/** Waits until nginx has reported the publisher again. */
async function untilReported(streamId: string): Promise<void> {
  const before = await readLease(streamId);
  try {
    await waitFor(async () => (await readLease(streamId)) > before, { what: "a report", timeoutMs: 20_000 });
  } catch (error) {
    const ends = await Promise.all(encoders.filter((encoder) => !encoder.running()).map(({ exited }) => exited));
    const known = { sessions: await sessionsOf(streamId), ends, nginx: house.nginx.errors().slice(-2000) };
    throw new Error(`no report came: ${JSON.stringify(known)}`, { cause: error });
  }
}

describe("nginx-rtmp with its control URL", () => {
  beforeAll(async () => {
    house = await openHouse({ controlled: true });
  });
  afterAll(() => closeHouse(house));

  it("lets a right key publish, and dashboards see it live within a second", async () => {
    const made = await makeStream();
    expect(made.dashboard.stream()?.status).toBe("ready");
    const encoder = publish(made.key);
    await waitFor(() => encoder.sentMs() > 0, { what: "media" });
    expect(await made.dashboard.until("live")).toBeLessThan(1000);
    await untilReported(made.id);
    expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "live", connections: 1, provisional: false }]);
  });

  it("refuses a wrong, an expired, a revoked and a disabled key, and the encoder ends with an error", async () => {
    await expectRefused(publish("phk_nobody-has-this-key"));

    const expired = await makeStream({ expiresAt: new Date(Date.now() + 1500).toISOString() });
    await expired.dashboard.until("expired");
    await expectRefused(publish(expired.key));

    const revoked = await makeStream();
    await house.api.revoke(revoked.id);
    await expectRefused(publish(revoked.key));

    const disabled = await makeStream();
    await house.api.disable(disabled.id);
    await expectRefused(publish(disabled.key));
    for (const { id } of [expired, revoked, disabled]) expect(await sessionsOf(id)).toEqual([]);

    await house.api.enable(disabled.id);
    await publishLive(disabled);
  });

  it("cuts the encoder of a live key that is revoked, disabled or expires", async () => {
    const revoked = await makeStream();
    const disabled = await makeStream();
    const expiring = await makeStream({ expiresAt: new Date(Date.now() + 4000).toISOString() });
    const [first, second, third] = [
      await publishLive(revoked),
      await publishLive(disabled),
      await publishLive(expiring),
    ];
    await house.api.revoke(revoked.id);
    await expectCut(first, revoked, "revoked");
    await house.api.disable(disabled.id);
    await expectCut(second, disabled, "disabled");
    await expiring.dashboard.until("expired");
    await expectCut(third, expiring, "expired");
    // It is final at once: the end that nginx reports afterwards changes nothing.
    await expectRefused(publish(revoked.key));
    expect(revoked.dashboard.statuses()).toEqual(["ready", "live", "revoked"]);
  });

  async function expectCut(encoder: Encoder, made: { id: string; dashboard: WatchedStream }, status: Stream["status"]) {
    const cutAt = performance.now();
    expect(await encoder.exited).toMatchObject({ code: 1 });
    expect(performance.now() - cutAt).toBeLessThan(GONE_WITHIN_MS);
    await made.dashboard.until(status);
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "ended" }]);
  }

  it("refuses a second encoder; the first stays live, and is not ended by the second's end", async () => {
    const made = await makeStream();
    const first = await publishLive(made);
    const before = await sessionsOf(made.id);
    await expectRefused(publish(made.key));
    await expectRefused(publish(made.key));
    await first.sendsOn();
    await untilReported(made.id);
    expect(await sessionsOf(made.id)).toEqual(before);
    expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
  });

  it("lets a second encoder take over where the stream says so, and the first one's end changes nothing", async () => {
    const made = await makeStream({ policy: "takeover" });
    const first = await publishLive(made);
    const second = publish(made.key);
    await second.sendsOn();
    expect(await first.exited).toMatchObject({ code: 1 });
    await untilReported(made.id);
    expect(made.dashboard.stream()?.status).toBe("live");
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "ended" }, { state: "live" }]);
  });

  it("keeps one session for an encoder that is killed and comes back", async () => {
    const made = await makeStream();
    const first = await publishLive(made);
    await first.kill("SIGKILL");
    await made.dashboard.until("reconnecting");
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "reconnecting", connections: 1 }]);
    await publishLive(made);
    expect(made.dashboard.statuses()).toEqual(["ready", "live", "reconnecting", "live"]);
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "live", connections: 2 }]);
  });

  it("ends a stream whose encoder ended, where it waits for none", async () => {
    const made = await makeStream({ reconnectWindowSeconds: 0 });
    const encoder = await publishLive(made);
    await encoder.kill("SIGINT");
    await made.dashboard.until("ended");
    expect(await sessionsOf(made.id)).toMatchObject([{ state: "ended", connections: 1 }]);
  });

  it.each([
    ["another stream's name and another event", "?name=VICTIM&call=publish_done"],
    ["another connection", "?clientid=1"],
    ["another application", "?app=other"],
    ["the fields of an update", "?time=1&timestamp=1"],
  ])("refuses a key with %s behind it, and nothing changes", async (_, behind) => {
    const victim = await makeStream();
    const attacker = await makeStream();
    const live = await publishLive(victim);
    const before = await sessionsOf(victim.id);
    await expectRefused(publish(attacker.key, behind.replace("VICTIM", victim.key)));
    await live.sendsOn();
    expect(await sessionsOf(victim.id)).toEqual(before);
    expect(await sessionsOf(attacker.id)).toEqual([]);
    expect(victim.dashboard.statuses()).toEqual(["ready", "live"]);
    expect(attacker.dashboard.statuses()).toEqual(["ready"]);
  });

  it("takes what is harmless behind a key", async () => {
    const made = await makeStream();
    publish(made.key, "?quality=high");
    await made.dashboard.until("live");
  });

  it("lets nobody play by RTMP, who would know the key", async () => {
    const made = await makeStream();
    const encoder = await publishLive(made);
    const url = `${house.nginx.rtmpUrl}/${made.key}`;
    const player = spawn(requireTool(TOOLS.ffmpeg), ["-loglevel", "quiet", "-i", url, "-f", "null", "-"]);
    expect((await once(player, "exit"))[0]).not.toBe(0);
    await encoder.sendsOn();
  });

  it("goes on over a reload of nginx, after which a revoked key is cut at the next update", async () => {
    const made = await makeStream();
    const encoder = await publishLive(made);
    await house.nginx.reload();
    await encoder.sendsOn();
    await untilReported(made.id);
    // The old worker's streams are not known to the new one: only Playhead refuses a second encoder.
    await expectRefused(publish(made.key));
    expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
    await house.api.revoke(made.id);
    expect(await encoder.exited).toMatchObject({ code: 1 });
  });
});

describe("nginx-rtmp configured as the page says, to the second", () => {
  beforeAll(async () => {
    house = await openHouse({ controlled: true, changes: {} });
  });
  afterAll(() => closeHouse(house));

  it("cuts the encoder of a revoked key before it reports for the first time", async () => {
    const made = await makeStream();
    const encoder = await publishLive(made);
    await house.api.revoke(made.id);
    expect((await encoder.exited).afterMs).toBeLessThan(9000);
  });

  it("ends an encoder that hangs, though nobody hangs up", async () => {
    const made = await makeStream();
    const encoder = await publishLive(made);
    process.kill(encoder.pid, "SIGSTOP");
    expect(await made.dashboard.until("reconnecting", 25_000)).toBeGreaterThan(5000);
  });
});

describe("nginx-rtmp without a control URL", () => {
  beforeAll(async () => {
    house = await openHouse({ controlled: false });
  });
  afterAll(() => closeHouse(house));

  it("cuts the encoder of a revoked key at its next update", async () => {
    const made = await makeStream();
    const encoder = await publishLive(made);
    await house.api.revoke(made.id);
    expect(await encoder.exited).toMatchObject({ code: 1 });
    expect(made.dashboard.statuses()).toEqual(["ready", "live", "revoked"]);
  });
});

describe("nginx that is killed while a stream is live", () => {
  async function killAndStartAgain(live: Encoder): Promise<void> {
    await house.nginx.kill();
    await live.exited;
    await house.nginx.startAgain();
  }

  /** It has another number the next time it connects: one more came before it. */
  async function publishAsSecond(made: { key: string; dashboard: WatchedStream }): Promise<Encoder> {
    await expectRefused(publish("phk_nobody-has-this-key"));
    return publishLive(made);
  }

  describe("and does not say that it was", () => {
    beforeEach(async () => {
      house = await openHouse({ controlled: true, env: { STREAM_LEASE_SECONDS: "4" } });
    });
    afterEach(() => closeHouse(house));

    it("lets the encoder in at once when its connection has the same number again", async () => {
      const made = await makeStream();
      const first = await publishLive(made);
      const [before] = await sessionsOf(made.id);
      await killAndStartAgain(first);
      await publish(made.key).sendsOn();
      const [after, ...more] = await sessionsOf(made.id);
      expect(more).toEqual([]);
      expect(after).toMatchObject({ state: "live", connections: 2, connection: before?.connection });
      expect(after?.boot).not.toBe(before?.boot);
    });

    it("lets the encoder in by the end of the lease when its connection has another number", async () => {
      const made = await makeStream();
      await killAndStartAgain(await publishAsSecond(made));
      // As encoders do: again and again.
      const again = await waitFor(
        async () => {
          const encoder = publish(made.key);
          await Promise.race([encoder.exited, encoder.sendsOn(1).catch(() => undefined)]);
          return encoder.running() ? encoder : null;
        },
        { what: "an encoder to be let in", timeoutMs: 20_000 },
      );
      await again.sendsOn();
      expect(await sessionsOf(made.id)).toMatchObject([{ state: "live", connections: 2 }]);
    });
  });

  describe("and says so", () => {
    beforeAll(async () => {
      house = await openHouse({ controlled: true, boots: true });
    });
    afterAll(() => closeHouse(house));

    it("lets the encoder in at once, whatever its connection's number", async () => {
      const made = await makeStream();
      await killAndStartAgain(await publishAsSecond(made));
      await publish(made.key).sendsOn();
      expect(await sessionsOf(made.id)).toMatchObject([{ state: "live", connections: 2 }]);
    });

    it("takes a reload for none", async () => {
      const made = await makeStream();
      const encoder = await publishLive(made);
      const before = await sessionsOf(made.id);
      await house.nginx.reload();
      await expectRefused(publish(made.key));
      await encoder.sendsOn();
      await untilReported(made.id);
      expect(await sessionsOf(made.id)).toEqual(before);
    });
  });
});

describe("Playhead that is killed while a stream is live", () => {
  beforeAll(async () => {
    house = await openHouse({ controlled: true, env: { STREAM_LEASE_SECONDS: "5" } });
  });
  afterAll(() => closeHouse(house));

  it("does not end the stream, refuses new ones meanwhile, and has its status right again", async () => {
    const made = await makeStream();
    const other = await makeStream();
    const encoder = await publishLive(made);
    const before = await sessionsOf(made.id);
    await house.server.kill();
    await expectRefused(publish(other.key));
    // Longer than the lease: nobody could renew it.
    await encoder.sendsOn(7000);
    house.server = await startFlowServer(house.environment);
    await made.dashboard.until("live");
    await untilReported(made.id);
    expect(await sessionsOf(made.id)).toEqual(before);
    await encoder.sendsOn();
    // What the crash took with it is there again: a revoked key is cut.
    await house.api.revoke(made.id);
    await made.dashboard.until("revoked");
    expect(await encoder.exited).toMatchObject({ code: 1 });
    await publishLive(other);
  });

  it("cuts nobody when it comes back with another secret, and lets nobody in", async () => {
    const made = await makeStream();
    const other = await makeStream();
    const encoder = await publishLive(made);
    expect(await house.server.stop()).toBe(0);
    house.server = await startFlowServer({ ...house.environment, HOOK_SECRETS: "nginx-rtmp:another" });
    await expectRefused(publish(other.key));
    await encoder.sendsOn(3000);
  });
});

describe("PostgreSQL that goes away while a stream is live", () => {
  beforeAll(async () => {
    house = await openHouse({ controlled: true, env: { STREAM_LEASE_SECONDS: "5" } });
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
    await expectRefused(publish(unknown.key));
    const admitted = publish(known.key);
    await admitted.sendsOn();
    // Longer than the lease, and several updates.
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
    expect(live.dashboard.stream()?.status).toBe("live");
    await encoder.sendsOn();
    await admitted.sendsOn();
    await publishLive(unknown);
  });
});
