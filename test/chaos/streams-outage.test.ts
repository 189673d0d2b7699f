import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { CreateStream } from "../../src/protocol/stream.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { connectMediaServer, type MediaServer } from "../helpers/media-server.ts";
import { startTestPostgres, type TestPostgres } from "../helpers/postgres.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { createStreamsApi } from "../helpers/streams-api.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * The database goes away and comes back while encoders are live and others come; a server is killed and starts again.
 * No live encoder is cut by that, and afterwards the history is right.
 */

const LEASE_SECONDS = 2;
const SECRET = "only-these-flows-know-it";
/** nginx waits so long for an answer. */
const NGINX_WAITS_MS = 10_000;

let postgres: TestPostgres;
let query: Query;
let environment: Record<string, string>;
/** The server that media servers ask unless a test says otherwise. */
let server: ServerProcess;
const servers: ServerProcess[] = [];
const open: { close(): void }[] = [];
let mediaServers = 0;

beforeAll(async () => {
  postgres = await startTestPostgres();
  query = queryOf(postgres.url);
  environment = {
    DATABASE_URL: postgres.url,
    RTMP_SECRETS: SECRET,
    HOOK_SECRETS: `nginx-rtmp:${SECRET}`,
    STREAM_LEASE_SECONDS: String(LEASE_SECONDS),
    STREAM_RECONNECT_SECONDS: "60",
    QUERY_TIMEOUT_MS: "1500",
    MAX_STREAMS_PER_USER: "1000",
  };
  // Every status that a stream had, by the database's clock.
  await query(`CREATE TABLE seen (stream_id text, status text, at timestamptz DEFAULT clock_timestamp())`);
  await query(`CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO seen (stream_id, status) VALUES (NEW.id, NEW.status); RETURN NULL; END $$`);
  await query(
    `CREATE TRIGGER see AFTER UPDATE ON streams FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION see()`,
  );
});
afterEach(() => {
  for (const client of open.splice(0)) client.close();
});
afterAll(async () => {
  await postgres.stop();
});

/** Starts the server of a group of tests before it, and stops all servers after it. */
function serveDuring(env: Record<string, string> = {}): void {
  beforeAll(async () => {
    server = await startServer(env);
  });
  afterAll(async () => {
    const stopped = servers.splice(0);
    for (const one of stopped) await one.kill();
    // A database that is away is no error: level 50 is `error`.
    const lines = stopped.flatMap(({ process }) => process.stderr().split("\n"));
    expect(lines.filter((line) => /"level":[56]0/.test(line))).toEqual([]);
  });
}

async function startServer(env: Record<string, string> = {}): Promise<ServerProcess> {
  const started = await startFlowServer({ PORT: await findFreePort(), ...environment, ...env });
  servers.push(started);
  return started;
}

/** A media server that no other test knows. */
async function media(at = server, name = `edge-${++mediaServers}`): Promise<MediaServer> {
  const client = await connectMediaServer(at.url, { secret: SECRET, server: name, boot: "b1" });
  open.push(client);
  return client;
}

async function newStream(settings: Partial<CreateStream> = {}): Promise<{ id: string; key: string }> {
  const api = createStreamsApi({ url: server.url, token: await mintToken("alice") });
  const { stream, streamKey } = await api.create(settings);
  return { id: stream.id, key: streamKey };
}

async function statusOf({ id }: { id: string }): Promise<string | undefined> {
  return (await query<{ status: string }>("SELECT status FROM streams WHERE id = $1", [id]))[0]?.status;
}

/** Every status that the stream had, in order. */
async function seen({ id }: { id: string }): Promise<string[]> {
  return (await query<{ status: string }>("SELECT status FROM seen WHERE stream_id = $1 ORDER BY at", [id])).map(
    ({ status }) => status,
  );
}

async function history({ id }: { id: string }) {
  return query<{
    claim: string;
    state: string;
    provisional: boolean;
    end_reason: string | null;
    peak_viewers: number | null;
  }>(
    "SELECT claim, state, provisional, end_reason, peak_viewers FROM stream_sessions WHERE stream_id = $1 ORDER BY id",
    [id],
  );
}

/** Lets the server see the key, so that it is cached. */
async function getKnown(client: MediaServer, { key }: { key: string }): Promise<void> {
  const verdict = await client.validate(key, "known");
  if (!verdict.ok || !verdict.valid) throw new Error(`the key was refused: ${JSON.stringify(verdict)}`);
  await client.call("stream:ended", { sessionId: verdict.sessionId });
}

async function expectReady(at = server): Promise<void> {
  await waitFor(async () => (await fetch(`${at.url}/readyz`)).status === 200, { what: "/readyz", timeoutMs: 20_000 });
}

/** Posts a hook as nginx does. */
async function hook(event: string, form: Record<string, string>): Promise<number> {
  const response = await fetch(`${server.url}/v1/hooks/nginx-rtmp/${event}?secret=${SECRET}&server=nginx-1`, {
    method: "POST",
    body: new URLSearchParams({ app: "live", addr: "192.0.2.1", type: "live", ...form }),
  });
  return response.status;
}

describe("while PostgreSQL is away", () => {
  serveDuring();
  // The outage of the test before is over.
  beforeEach(() => expectReady());

  it("admits a known key provisionally, and its session goes on when the database is back", async () => {
    const client = await media();
    const stream = await newStream();
    await getKnown(client, stream);
    await postgres.killImmediately();
    const sessionId = await client.publish(stream.key, "c1");
    expect(await client.validate(stream.key, "c1")).toMatchObject({ valid: true, sessionId });
    expect(await client.validate(stream.key, "c2")).toMatchObject({ valid: false, reason: "already_live" });
    for (const viewers of [3, 700, 5]) {
      expect(await client.call("stream:stats", { sessionId, viewers })).toMatchObject({ ok: true });
    }
    await postgres.startAgain();
    await waitFor(async () => (await statusOf(stream)) === "live", { what: "the session to be written" });
    expect(await client.call("stream:stats", { sessionId, viewers: 1 })).toMatchObject({ ok: true });
    await waitFor(async () => (await history(stream))[0]?.peak_viewers === 700, { what: "its reports to be counted" });
    expect(await history(stream)).toMatchObject([{ claim: sessionId, state: "live", provisional: true }]);
    expect(client.heard("stream:drop")).toEqual([]);
    expect(await client.call("stream:ended", { sessionId })).toMatchObject({ ok: true });
  });

  it("refuses a key that is not known, before nginx gives up", async () => {
    const client = await media();
    const stream = await newStream();
    await postgres.killImmediately();
    const askedAt = performance.now();
    const answer = await client.validate(stream.key, "c1");
    expect(performance.now() - askedAt).toBeLessThan(NGINX_WAITS_MS);
    expect(answer).toMatchObject({ ok: false, error: { code: "unavailable", retryAfterMs: expect.any(Number) } });
    expect(JSON.stringify(answer)).not.toContain(stream.key);
    expect(await hook("on_publish", { name: stream.key, clientid: "1" })).toBeGreaterThanOrEqual(400);
    await postgres.startAgain();
    await expectReady();
    expect(await client.validate(stream.key, "c1")).toMatchObject({ valid: true });
  });

  it("refuses a known key that was revoked", async () => {
    const client = await media();
    const stream = await newStream();
    await getKnown(client, stream);
    await query("UPDATE streams SET status = 'revoked' WHERE id = $1", [stream.id]);
    await waitFor(async () => (await client.validate(stream.key, "c0")).ok, { what: "an answer" });
    await postgres.killImmediately();
    const answer = await client.validate(stream.key, "c1");
    expect(answer.ok ? answer : answer.error.code).not.toMatchObject({ valid: true });
    await postgres.startAgain();
    await expectReady();
    expect(await history(stream)).not.toContainEqual(expect.objectContaining({ provisional: true }));
  });

  it("keeps live streams live: their reports do not fail, and their leases begin anew when the database is back", async () => {
    const client = await media();
    const stream = await newStream();
    const silent = await newStream();
    const sessionId = await client.publish(stream.key, "c1");
    await client.publish(silent.key, "c2");
    expect(await client.call("stream:stats", { sessionId, viewers: 1 })).toMatchObject({ ok: true });
    await postgres.killImmediately();
    const awayAt = performance.now();
    // Longer than the lease.
    while (performance.now() - awayAt < LEASE_SECONDS * 1500) {
      expect(await client.call("stream:stats", { sessionId, viewers: 2 })).toMatchObject({ ok: true });
      await delay(100);
    }
    expect(await client.validate(stream.key, "c3")).toMatchObject({ valid: false, reason: "already_live" });
    await postgres.startAgain();
    const [back] = await query<{ at: Date }>("SELECT clock_timestamp() AS at");
    await expectReady();
    expect(await statusOf(stream)).toBe("live");
    // A session that nobody reports is swept, but not before a lease has passed since the database was back.
    await waitFor(
      async () => {
        await client.call("stream:stats", { sessionId, viewers: 2 });
        return (await statusOf(silent)) === "reconnecting";
      },
      { what: "the silent one to be swept" },
    );
    const [swept] = await query<{ at: Date }>("SELECT at FROM seen WHERE stream_id = $1 AND status = 'reconnecting'", [
      silent.id,
    ]);
    expect(Number(swept?.at) - Number(back?.at)).toBeGreaterThanOrEqual(LEASE_SECONDS * 1000);
    expect(await seen(stream)).toEqual(["live"]);
  });

  it("keeps the ends of sessions that began meanwhile, and of streams that nginx published before", async () => {
    const client = await media();
    const [before, began, brief] = [await newStream(), await newStream(), await newStream()];
    await getKnown(client, began);
    await getKnown(client, brief);
    expect(await hook("on_publish", { name: before.key, clientid: "7" })).toBe(200);
    await postgres.killImmediately();
    const sessionId = await client.publish(began.key, "c1");
    expect(await client.call("stream:ended", { sessionId, reason: "the talk is over" })).toMatchObject({ ok: true });
    // The stream is free for the next encoder at once.
    expect(await client.validate(began.key, "c2")).toMatchObject({ valid: true });
    const verdict = await client.validate(brief.key, "c3");
    if (verdict.ok && verdict.valid) await client.call("stream:ended", { sessionId: verdict.sessionId });
    expect(await hook("on_update", { name: before.key, clientid: "7", timestamp: "5000" })).toBe(200);
    expect(await hook("on_publish_done", { name: before.key, clientid: "7" })).toBe(200);
    await postgres.startAgain();
    await waitFor(async () => (await statusOf(before)) === "reconnecting", { what: "nginx's end" });
    expect(await history(before)).toMatchObject([{ state: "reconnecting", end_reason: "unpublished" }]);
    await waitFor(async () => (await statusOf(began)) === "reconnecting", { what: "the end of the other" });
    expect((await history(began))[0]).toMatchObject({ provisional: true });
    expect(await history(brief)).toEqual([]);
  });

  it("refuses a socket's end of a session that was live before as unavailable, and accepts it when it is told again", async () => {
    const client = await media();
    const stream = await newStream();
    const sessionId = await client.publish(stream.key, "c1");
    await postgres.killImmediately();
    expect(await client.call("stream:ended", { sessionId })).toMatchObject({
      ok: false,
      error: { code: "unavailable", retryAfterMs: expect.any(Number) },
    });
    await postgres.startAgain();
    await expectReady();
    expect(await client.call("stream:ended", { sessionId })).toMatchObject({ ok: true });
    expect(await statusOf(stream)).toBe("reconnecting");
  });

  it("keeps the earlier of two encoders that two processes admitted, and drops the later one", async () => {
    const other = await startServer();
    const [here, there] = [await media(), await media(other)];
    const streams = [await newStream({ reconnectWindowSeconds: 0 }), await newStream({ reconnectWindowSeconds: 0 })];
    for (const stream of streams) {
      await getKnown(here, stream);
      await getKnown(there, stream);
    }
    await postgres.killImmediately();
    const [one, two] = streams as [{ id: string; key: string }, { id: string; key: string }];
    // The earlier encoder comes once here and once there: the order of admission decides, not the order of the writes.
    const first = { one: await here.publish(one.key, "c1"), two: await there.publish(two.key, "c1") };
    const second = { one: await there.publish(one.key, "c2"), two: await here.publish(two.key, "c2") };
    await postgres.startAgain();
    expect(await there.dropOf(second.one)).toBe("already_live");
    expect(await here.dropOf(second.two)).toBe("already_live");
    for (const [stream, winner] of [
      [one, first.one],
      [two, first.two],
    ] as const) {
      await waitFor(
        async () => (await history(stream)).some(({ claim, state }) => claim === winner && state === "live"),
        {
          what: "the earlier one to be live",
        },
      );
      expect(await statusOf(stream)).toBe("live");
      expect((await history(stream)).find(({ claim }) => claim === winner)).toMatchObject({ provisional: true });
    }
    expect(await here.call("stream:stats", { sessionId: first.one })).toMatchObject({ ok: true });
    expect(await there.call("stream:stats", { sessionId: first.two })).toMatchObject({ ok: true });
    expect(await here.call("stream:stats", { sessionId: second.two })).toMatchObject({ ok: false });
    expect(here.heard("stream:drop")).toHaveLength(1);
    expect(there.heard("stream:drop")).toHaveLength(1);
  });

  it("drops a session whose key was revoked while the listener was away", async () => {
    const client = await media();
    const stream = await newStream();
    const sessionId = await client.publish(stream.key, "c1");
    // The listener needs a moment to connect again: the notification finds nobody.
    await query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'playhead-listener'");
    await query("UPDATE streams SET status = 'revoked' WHERE id = $1", [stream.id]);
    expect(await client.dropOf(sessionId)).toBe("revoked");
  });
});

describe("while PostgreSQL answers nothing", () => {
  // Longer than an answer may take: the gate gives up, not the query.
  serveDuring({ QUERY_TIMEOUT_MS: "8000" });

  it("admits known keys and accepts reports, and all of them are written when it goes on", async () => {
    const client = await media();
    const [live, known] = [await newStream(), await newStream()];
    const sessionId = await client.publish(live.key, "c1");
    expect(await client.call("stream:stats", { sessionId, viewers: 1 })).toMatchObject({ ok: true });
    await getKnown(client, known);
    const backends = await query<{ pid: number }>(
      "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'playhead%'",
    );
    const frozen = [postgres.pid, ...backends.map(({ pid }) => pid)];
    for (const pid of frozen) process.kill(pid, "SIGSTOP");
    let provisional: string;
    try {
      const askedAt = performance.now();
      provisional = await client.publish(known.key, "c2");
      expect(await client.call("stream:stats", { sessionId, viewers: 2 })).toMatchObject({ ok: true });
      expect(performance.now() - askedAt).toBeLessThan(NGINX_WAITS_MS);
    } finally {
      for (const pid of frozen) process.kill(pid, "SIGCONT");
    }
    await waitFor(async () => (await statusOf(known)) === "live", {
      what: "the session to be written",
      timeoutMs: 20_000,
    });
    await waitFor(async () => (await history(known)).length === 1, { what: "one session" });
    expect(await history(known)).toMatchObject([{ claim: provisional, state: "live" }]);
    await expectReady();
    expect(await client.call("stream:stats", { sessionId: provisional, viewers: 2 })).toMatchObject({ ok: true });
    expect(await client.call("stream:stats", { sessionId, viewers: 2 })).toMatchObject({ ok: true });
  });
});

describe("a server that was killed while encoders were live", () => {
  serveDuring();

  it("waits a full lease after its start before it sweeps, and keeps sessions that are reported again", async () => {
    const client = await media(server, "dies");
    const [goesOn, silent] = [await newStream(), await newStream()];
    const sessionId = await client.publish(goesOn.key, "c1");
    await client.publish(silent.key, "c2");
    await server.kill();
    await waitFor(
      async () =>
        (await query("SELECT FROM stream_sessions WHERE state = 'live' AND lease_until > clock_timestamp()")).length ===
        0,
      { what: "every lease to be over" },
    );
    const [startedAt] = await query<{ at: Date }>("SELECT clock_timestamp() AS at");
    server = await startServer({ PORT: new URL(server.url).port });
    const again = await media(server, "dies");
    await waitFor(
      async () => {
        expect(await again.call("stream:stats", { sessionId, viewers: 1 })).toMatchObject({ ok: true });
        return (await statusOf(silent)) === "reconnecting";
      },
      { what: "the silent one to be swept" },
    );
    const [swept] = await query<{ at: Date }>("SELECT at FROM seen WHERE stream_id = $1 AND status = 'reconnecting'", [
      silent.id,
    ]);
    expect(Number(swept?.at) - Number(startedAt?.at)).toBeGreaterThanOrEqual(LEASE_SECONDS * 1000);
    expect(await seen(goesOn)).toEqual(["live"]);
    expect(await history(goesOn)).toMatchObject([{ claim: sessionId, state: "live", provisional: false }]);
  });
});
