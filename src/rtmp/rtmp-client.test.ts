import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createFakeClock, type FakeClock } from "../../test/helpers/fake-clock.ts";
import { FAKE_STREAM, type FakePublishServer, startFakePublishServer } from "../../test/helpers/fake-publish-server.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import type { Ack } from "../protocol/ack.ts";
import type { PublishSession } from "./publish-session.ts";
import { createRtmpClient, type RtmpClient, type RtmpClientOptions, type Validation } from "./rtmp-client.ts";
import type { RtmpProblem } from "./rtmp-connection.ts";

const ANSWER_TIMEOUT_MS = 5000;
const REPORT_INTERVAL_MS = 10_000;
const SECRET = "a secret of this media server";
const REQUEST = { streamKey: "right-key", connectionId: "connection-1" };
const DAY_MS = 24 * 3600 * 1000;

let server: FakePublishServer;
let clock: FakeClock;
let problems: RtmpProblem[];
let clients: RtmpClient[];

beforeEach(async () => {
  server = await startFakePublishServer();
  clock = createFakeClock();
  problems = [];
  clients = [];
});

afterEach(async () => {
  const closed = Promise.all(clients.map((client) => client.close()));
  clock.advance(60_000);
  await closed;
  await server.stop();
});

function create(options: Partial<RtmpClientOptions> = {}): RtmpClient {
  const onProblem = (problem: RtmpProblem) => void problems.push(problem);
  const client = createRtmpClient({
    url: server.url,
    secret: SECRET,
    server: "ingest-1",
    clock,
    onProblem,
    ...options,
  });
  clients.push(client);
  return client;
}

async function createConnected(options: Partial<RtmpClientOptions> = {}): Promise<RtmpClient> {
  const client = create(options);
  await waitFor(() => client.connected, { what: "a connection" });
  return client;
}

async function admitted(client: RtmpClient, connectionId = "connection-1"): Promise<PublishSession> {
  const answer = await client.validate({ ...REQUEST, connectionId });
  if (!answer.valid) throw new Error(`refused: ${answer.reason}`);
  return answer.session;
}

/** A session whose start the server took. */
async function live(client: RtmpClient, connectionId?: string): Promise<PublishSession> {
  const session = await admitted(client, connectionId);
  session.started();
  const { sessionId } = session;
  await server.heard("stream:started", (payload) => payload.sessionId === sessionId);
  await roundTrip(client);
  return session;
}

/** Everything that was sent either way before this is there after it. */
async function roundTrip(client: RtmpClient): Promise<void> {
  await client.validate({ streamKey: "wrong-key", connectionId: "round-trip" });
}

function refusing(code: string): () => Ack {
  return () => ({ ok: false, error: { code: code as never, message: "as the test says" } });
}

/** Moves the clock in small steps, so that what is answered in between is heard. */
async function advanceUntil(done: () => boolean, what: string): Promise<void> {
  await waitFor(
    () => {
      if (!done()) clock.advance(1000);
      return done();
    },
    { what },
  );
}

describe("a key", () => {
  it("that is right gives a session, the stream and its lifetime; the server hears what was asked and nothing else", async () => {
    server.keys.set("right-key", { lifetimeMs: 60_000 });
    const client = create({ boot: "boot-1" });
    const asked = { ...REQUEST, app: "live", clientIp: "192.0.2.1", protocol: "rtmp" };
    const answer = await client.validate({ ...asked, other: "not for the server" } as typeof asked);
    expect(answer).toMatchObject({ valid: true, stream: FAKE_STREAM, lifetimeMs: 60_000 });
    expect(answer.valid && answer.session.sessionId).toBe("session-1");
    expect(server.calls).toEqual([{ event: "stream:validate", payload: asked }]);
    expect(server.auths).toEqual([{ secret: SECRET, server: "ingest-1", boot: "boot-1" }]);
  });

  it.each(["unknown", "expired", "revoked", "disabled", "already_live"] as const)(
    "that is %s is refused as such",
    async (refuse) => {
      server.keys.set("right-key", { refuse });
      expect(await create().validate(REQUEST)).toEqual({ valid: false, reason: refuse });
    },
  );

  it.each([
    ["rate_limited", "rate_limited"],
    ["bad_request", "bad_request"],
    ["unavailable", "unreachable"],
    ["internal", "unreachable"],
    ["overloaded", "unreachable"],
  ])("is refused where the server answers %s", async (error, reason) => {
    server.keys.set("right-key", { error });
    expect(await create().validate(REQUEST)).toEqual({ valid: false, reason });
  });

  it("is refused, not thrown about, where it is no text", async () => {
    const client = await createConnected();
    for (const streamKey of [undefined, null, 5, {}, 10n]) {
      expect(await client.validate({ ...REQUEST, streamKey: streamKey as never })).toMatchObject({ valid: false });
    }
  });

  it("is refused where the answer is no ack", async () => {
    const client = await createConnected();
    for (const answer of [undefined, "yes", { ok: true }, { ok: true, valid: "true", sessionId: "session-1" }]) {
      server.answer("stream:validate", () => answer as never);
      expect(await client.validate(REQUEST)).toEqual({ valid: false, reason: "unreachable" });
    }
  });

  it("is refused when no answer comes in time, and a late yes is given back", async () => {
    server.answer("stream:validate", () => null);
    const client = await createConnected();
    const answer = client.validate(REQUEST);
    await server.heard("stream:validate");
    clock.advance(ANSWER_TIMEOUT_MS);
    expect(await answer).toEqual({ valid: false, reason: "unreachable" });
    server.sendLate("stream:validate", {
      ok: true,
      valid: true,
      sessionId: "late",
      stream: FAKE_STREAM,
      lifetimeMs: 0,
    });
    expect((await server.heard("stream:ended")).payload).toMatchObject({ sessionId: "late" });
    expect(server.count("stream:started")).toBe(0);
  });

  it("is not given back for a late no", async () => {
    server.answer("stream:validate", () => null);
    const client = await createConnected();
    const answer = client.validate(REQUEST);
    await server.heard("stream:validate");
    clock.advance(ANSWER_TIMEOUT_MS);
    await answer;
    server.sendLate("stream:validate", { ok: true, valid: false, reason: "unknown" });
    server.answerAsUsual("stream:validate");
    await roundTrip(client);
    expect(server.count("stream:ended")).toBe(0);
  });

  it("is refused where there is no connection in time", async () => {
    await server.stop();
    const answer = create().validate(REQUEST);
    clock.advance(ANSWER_TIMEOUT_MS);
    expect(await answer).toEqual({ valid: false, reason: "unreachable" });
    await server.start();
    // What timed out is not asked any more.
    const client = await createConnected();
    await roundTrip(client);
    expect(server.calls.filter(({ payload }) => payload.streamKey === "right-key")).toEqual([]);
  });

  it("waits for a connection that is being made", async () => {
    await server.stop();
    const client = create();
    const answer = client.validate(REQUEST);
    await waitFor(() => problems.length > 0, { what: "a first attempt in vain" });
    await server.start();
    expect(await answer).toMatchObject({ valid: true });
  });

  it("is asked again when the connection breaks before the answer", async () => {
    server.answer("stream:validate", () => null);
    const client = await createConnected();
    const answer = client.validate(REQUEST);
    await server.heard("stream:validate");
    await server.stop();
    server.answerAsUsual("stream:validate");
    await server.start();
    expect(await answer).toMatchObject({ valid: true });
    expect(server.count("stream:validate")).toBe(2);
  });

  it("is refused after close, also where the answer was on its way", async () => {
    const client = await createConnected();
    await client.close();
    expect(await client.validate(REQUEST)).toEqual({ valid: false, reason: "unreachable" });

    server.answer("stream:validate", () => null);
    const other = await createConnected();
    const answer = other.validate(REQUEST);
    await waitFor(() => server.count("stream:validate") > 0, { what: "the question" });
    await other.close();
    expect(await answer).toEqual({ valid: false, reason: "unreachable" });
  });
});

describe("a session's start and end", () => {
  it.each(["unavailable", "rate_limited", "overloaded", "internal"])(
    "are repeated where the server answers %s",
    async (code) => {
      const client = await createConnected();
      const session = await admitted(client);
      server.answer("stream:started", refusing(code));
      server.answer("stream:ended", refusing(code));
      session.started();
      await advanceUntil(() => server.count("stream:started") >= 3, "the start three times");
      server.answerAsUsual("stream:started");
      session.ended("over");
      await advanceUntil(() => server.count("stream:ended") >= 3, "the end three times");
      server.answerAsUsual("stream:ended");
      const before = server.count("stream:ended");
      await advanceUntil(() => server.count("stream:ended") > before, "the end that is taken");
      await roundTrip(client);
      const after = server.calls.length;
      clock.advance(60_000);
      await roundTrip(client);
      expect(server.calls.slice(after).map(({ event }) => event)).toEqual(["stream:validate"]);
      expect(server.calls.findLast(({ event }) => event === "stream:ended")?.payload).toEqual({
        sessionId: "session-1",
        reason: "over",
      });
    },
  );

  it("are repeated where no answer comes", async () => {
    const client = await createConnected();
    const session = await admitted(client);
    server.answer("stream:started", () => null);
    session.started();
    await advanceUntil(() => server.count("stream:started") >= 2, "the start again");
  });

  it("are told in this order when the connection is back", async () => {
    const client = await createConnected();
    const session = await admitted(client);
    await server.stop();
    await waitFor(() => !client.connected, { what: "the connection to end" });
    session.started();
    session.ended("encoder gone");
    await server.start();
    await server.heard("stream:ended");
    expect(server.calls.slice(1)).toEqual([
      { event: "stream:started", payload: { sessionId: "session-1" } },
      { event: "stream:ended", payload: { sessionId: "session-1", reason: "encoder gone" } },
    ]);
  });

  it("are told once each, whatever is called twice", async () => {
    const client = await createConnected();
    const session = await live(client);
    session.started();
    session.ended();
    session.ended("again");
    session.started();
    await server.heard("stream:ended");
    await roundTrip(client);
    expect([server.count("stream:started"), server.count("stream:ended")]).toEqual([1, 1]);
  });

  it.each(["not_found", "conflict", "bad_request"])("are given up where the server answers %s", async (code) => {
    const client = await createConnected();
    const [first, second] = [await admitted(client, "connection-1"), await live(client, "connection-2")];
    server.answer("stream:started", refusing(code));
    server.answer("stream:ended", refusing(code));
    first.started();
    second.ended();
    await waitFor(() => first.dropped, { what: "the session to be dropped" });
    expect(first.dropped).toBe("ended");
    expect(second.dropped).toBeNull();
    await roundTrip(client);
    const before = server.calls.length;
    clock.advance(60_000);
    await roundTrip(client);
    expect(server.calls.length).toBe(before + 1);
  });

  it("takes a reason of any length", async () => {
    const session = await live(await createConnected());
    session.ended("x".repeat(1000));
    expect((await server.heard("stream:ended")).payload.reason).toBe("x".repeat(200));
  });
});

describe("reports", () => {
  const reports = () => server.calls.filter(({ event }) => event === "stream:stats").map(({ payload }) => payload);

  it("bring the newest figures once per interval, and renew the lease without any", async () => {
    const client = await createConnected();
    const session = await live(client);
    session.report({ bitrateKbps: 100, viewers: 1 });
    session.report({ bitrateKbps: 200, mediaTimeMs: 5000 });
    await roundTrip(client);
    expect(reports()).toEqual([]);
    clock.advance(REPORT_INTERVAL_MS);
    await roundTrip(client);
    clock.advance(REPORT_INTERVAL_MS);
    await roundTrip(client);
    expect(reports()).toEqual([
      { sessionId: "session-1", bitrateKbps: 200, viewers: 1, mediaTimeMs: 5000 },
      { sessionId: "session-1" },
    ]);
  });

  it("begin when the start was taken and stop with the end", async () => {
    const client = await createConnected();
    const session = await admitted(client);
    clock.advance(REPORT_INTERVAL_MS);
    server.answer("stream:started", () => null);
    session.started();
    clock.advance(REPORT_INTERVAL_MS);
    await roundTrip(client);
    expect(reports()).toEqual([]);
    const other = await createConnected();
    server.answerAsUsual("stream:started");
    const second = await live(other, "connection-2");
    second.ended();
    await server.heard("stream:ended");
    clock.advance(3 * REPORT_INTERVAL_MS);
    await roundTrip(other);
    expect(reports().filter(({ sessionId }) => sessionId === second.sessionId)).toEqual([]);
  });

  it("are not kept while there is no connection; one goes out as soon as it is back", async () => {
    const client = await createConnected();
    const session = await live(client);
    await server.stop();
    await waitFor(() => !client.connected, { what: "the connection to end" });
    for (const bitrateKbps of [1, 2, 3]) {
      session.report({ bitrateKbps });
      clock.advance(REPORT_INTERVAL_MS);
    }
    await server.start();
    await server.heard("stream:stats");
    await roundTrip(client);
    expect(reports()).toEqual([{ sessionId: "session-1", bitrateKbps: 3 }]);
  });

  it("renew the lease even where a figure is none", async () => {
    const client = await createConnected();
    const session = await live(client);
    server.answer("stream:stats", ({ bitrateKbps }) =>
      bitrateKbps === undefined ? ({ ok: true } as Ack) : refusing("bad_request")(),
    );
    session.report({ bitrateKbps: Number.NaN });
    clock.advance(REPORT_INTERVAL_MS);
    await waitFor(() => reports().length === 2, { what: "the report without figures" });
    expect(reports()).toEqual([{ sessionId: "session-1", bitrateKbps: null }, { sessionId: "session-1" }]);
    expect(session.dropped).toBeNull();
  });

  it.each(["not_found", "conflict"])("that are answered %s drop the session", async (code) => {
    const client = await createConnected();
    const session = await live(client);
    const heard: string[] = [];
    session.onDrop((reason) => heard.push(reason));
    server.answer("stream:stats", refusing(code));
    clock.advance(REPORT_INTERVAL_MS);
    await waitFor(() => heard.length > 0, { what: "the drop" });
    clock.advance(3 * REPORT_INTERVAL_MS);
    await roundTrip(client);
    expect(heard).toEqual(["ended"]);
    expect(reports()).toHaveLength(1);
  });

  it.each(["unavailable", "rate_limited", "internal"])("that are answered %s change nothing", async (code) => {
    const client = await createConnected();
    const session = await live(client);
    server.answer("stream:stats", refusing(code));
    clock.advance(REPORT_INTERVAL_MS);
    await roundTrip(client);
    clock.advance(REPORT_INTERVAL_MS);
    await roundTrip(client);
    expect(reports()).toHaveLength(2);
    expect(session.dropped).toBeNull();
  });
});

describe("a drop", () => {
  it("reaches the session that it names and no other, and nothing is sent for it any more", async () => {
    const client = await createConnected();
    const [first, second] = [await live(client, "connection-1"), await live(client, "connection-2")];
    const heard: string[] = [];
    first.onDrop((reason) => heard.push(`first ${reason}`));
    second.onDrop((reason) => heard.push(`second ${reason}`));
    server.drop(first.sessionId, "revoked");
    server.drop(first.sessionId, "revoked");
    server.drop("session-99", "revoked");
    await waitFor(() => first.dropped, { what: "the drop" });
    first.ended("cut");
    await roundTrip(client);
    expect(heard).toEqual(["first revoked"]);
    expect(server.count("stream:ended")).toBe(0);
    expect(second.dropped).toBeNull();
  });

  it("is told to a listener that came after it", async () => {
    const client = await createConnected();
    const session = await live(client);
    server.drop(session.sessionId, "disabled");
    await waitFor(() => session.dropped, { what: "the drop" });
    const heard: string[] = [];
    session.onDrop((reason) => heard.push(reason));
    expect(heard).toEqual(["disabled"]);
  });

  it("is not told to a listener that was taken off", async () => {
    const client = await createConnected();
    const session = await live(client);
    const heard: string[] = [];
    session.onDrop((reason) => heard.push(reason))();
    server.drop(session.sessionId, "disabled");
    await waitFor(() => session.dropped, { what: "the drop" });
    expect(heard).toEqual([]);
  });

  it("comes from here when the key expires, without the server", async () => {
    server.keys.set("right-key", { lifetimeMs: 60_000 });
    const session = await live(await createConnected());
    await server.stop();
    clock.advance(59_999);
    expect(session.dropped).toBeNull();
    clock.advance(1);
    expect(session.dropped).toBe("expired");
    await server.start();
  });

  it("at an expiry in 40 days comes in 40 days, on a clock whose timers are short", async () => {
    server.keys.set("right-key", { lifetimeMs: 40 * DAY_MS });
    const short: FakeClock = {
      ...clock,
      after: (ms, run) => clock.after(ms > 2 ** 31 - 1 ? 1 : ms, run),
    };
    const session = await admitted(await createConnected({ clock: short }));
    clock.advance(40 * DAY_MS - 1);
    expect(session.dropped).toBeNull();
    clock.advance(1);
    expect(session.dropped).toBe("expired");
  });

  it("never comes for a session that has ended", async () => {
    server.keys.set("right-key", { lifetimeMs: 60_000 });
    const client = await createConnected();
    const session = await live(client);
    session.ended();
    server.drop(session.sessionId, "revoked");
    await roundTrip(client);
    clock.advance(60_000);
    expect(session.dropped).toBeNull();
  });
});

describe("the connection", () => {
  it("tells once that the secret is refused, refuses keys at once meanwhile, and tries on slowly", async () => {
    server.refuse = { code: "unauthenticated" };
    const client = create();
    await waitFor(() => problems.length > 0, { what: "the problem" });
    expect(problems).toMatchObject([{ cause: "unauthenticated" }]);
    expect(JSON.stringify(problems)).not.toContain(SECRET);
    expect(await client.validate(REQUEST)).toEqual({ valid: false, reason: "unreachable" });
    clock.advance(30_000);
    await waitFor(() => server.handshakes > 1, { what: "another attempt" });
    expect(server.handshakes).toBe(2);
    expect(problems).toHaveLength(1);
    server.refuse = null;
    await advanceUntil(() => client.connected, "the connection");
    expect(await client.validate(REQUEST)).toMatchObject({ valid: true });
  });

  it("tells of every change of the cause", async () => {
    const client = await createConnected();
    await server.stop();
    await waitFor(() => problems.length === 1, { what: "the first problem" });
    server.refuse = { code: "unauthenticated" };
    await server.start();
    await waitFor(() => problems.length === 2, { what: "the second" });
    server.refuse = { code: "unavailable", retryAfterMs: 1000 };
    await advanceUntil(() => problems.length === 3, "the third");
    server.refuse = null;
    await advanceUntil(() => client.connected, "the connection");
    expect(problems.map(({ cause }) => cause)).toEqual(["unreachable", "unauthenticated", "refused"]);
  });

  it("warns through the process where nobody wants to be told", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on("warning", onWarning);
    server.refuse = { code: "unauthenticated" };
    clients.push(createRtmpClient({ url: server.url, secret: SECRET, server: "ingest-1", clock }));
    await waitFor(() => warnings.length > 0, { what: "the warning" });
    process.off("warning", onWarning);
    expect(warnings[0]).toMatchObject({ name: "PlayheadWarning", code: "unauthenticated" });
  });

  it("comes back after the server has ended it", async () => {
    const client = await createConnected();
    server.io.disconnectSockets();
    await waitFor(() => !client.connected, { what: "the end" });
    await advanceUntil(() => client.connected, "the connection");
  });

  it("moves on within the time a draining server gives, with what is live", async () => {
    const client = await createConnected();
    const session = await live(client);
    server.io.emit("server:draining", { reconnectInMs: 3000 });
    await roundTrip(client);
    expect(server.auths).toHaveLength(1);
    clock.advance(3000);
    await waitFor(() => server.auths.length === 2, { what: "another connection" });
    server.drop(session.sessionId, "revoked");
    await waitFor(() => session.dropped, { what: "a drop over the new connection" });
  });

  it("has the boot of the process, the same for every client of it", async () => {
    await createConnected();
    await createConnected({ server: "ingest-2" });
    const [first, second] = server.auths;
    expect(first?.boot).toMatch(/^[0-9a-f-]{36}$/);
    expect(second).toMatchObject({ server: "ingest-2", boot: first?.boot });
  });

  it("ends with close, when the server took the ends of what was on", async () => {
    const client = await createConnected();
    await live(client, "connection-1");
    await live(client, "connection-2");
    await client.close();
    expect(client.connected).toBe(false);
    const ended = server.calls.filter(({ event }) => event === "stream:ended").map(({ payload }) => payload.sessionId);
    expect(ended).toEqual(["session-1", "session-2"]);
  });

  it("ends with close after a while where the server takes nothing", async () => {
    const client = await createConnected();
    await live(client);
    server.answer("stream:ended", () => null);
    const closed = client.close();
    await server.heard("stream:ended");
    clock.advance(2000);
    await closed;
    expect(client.connected).toBe(false);
  });

  it("ends with close at once where there is none", async () => {
    await server.stop();
    const client = create();
    await client.close();
    const answer: Validation = await client.validate(REQUEST);
    expect(answer).toEqual({ valid: false, reason: "unreachable" });
    await server.start();
  });
});
