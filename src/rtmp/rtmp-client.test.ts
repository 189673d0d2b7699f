import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FakeClock } from "../../test/helpers/fake-clock.ts";
import { FAKE_STREAM, type FakePublishServer } from "../../test/helpers/fake-publish-server.ts";
import { REQUEST, RtmpFixture, SECRET } from "../../test/helpers/rtmp-fixture.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { createRtmpClient, type Validation } from "./rtmp-client.ts";

const ANSWER_TIMEOUT_MS = 5000;

let rtmp: RtmpFixture;
let server: FakePublishServer;
let clock: FakeClock;

beforeEach(async () => {
  rtmp = await RtmpFixture.start();
  ({ server, clock } = rtmp);
});

afterEach(() => rtmp.close());

it.each(["progress.example.org", "ftp://progress.example.org", "https://progress.example.org/?x=1"])(
  "refuses to ask at %s, which is no URL of a server",
  (url) => {
    expect(() => createRtmpClient({ url, secret: SECRET, server: "ingest-1", clock })).toThrow(TypeError);
  },
);

describe("the validation of a key", () => {
  it("returns a session, the stream and its lifetime for a right key, and sends the known fields alone", async () => {
    server.keys.set("right-key", { lifetimeMs: 60_000 });
    const client = rtmp.create({ boot: "boot-1" });
    const asked = { ...REQUEST, app: "live", clientIp: "192.0.2.1", protocol: "rtmp" };
    const answer = await client.validate({ ...asked, other: "not for the server" } as typeof asked);
    expect(answer).toMatchObject({ valid: true, stream: FAKE_STREAM, lifetimeMs: 60_000 });
    expect(answer.valid && answer.session.sessionId).toBe("session-1");
    expect(server.calls).toEqual([{ event: "stream:validate", payload: asked }]);
    expect(server.auths).toEqual([{ secret: SECRET, server: "ingest-1", boot: "boot-1" }]);
  });

  it.each(["unknown", "expired", "revoked", "disabled", "already_live"] as const)(
    "returns the refusal %s of the server",
    async (refuse) => {
      server.keys.set("right-key", { refuse });
      expect(await rtmp.create().validate(REQUEST)).toEqual({ valid: false, reason: refuse });
    },
  );

  it.each([
    ["rate_limited", "rate_limited"],
    ["bad_request", "bad_request"],
    ["unavailable", "unreachable"],
    ["internal", "unreachable"],
    ["overloaded", "unreachable"],
  ])("returns a refusal if the server answers %s", async (error, reason) => {
    server.keys.set("right-key", { error });
    expect(await rtmp.create().validate(REQUEST)).toEqual({ valid: false, reason });
  });

  it("refuses a key that is no text, and throws nothing", async () => {
    const client = await rtmp.createConnected();
    for (const streamKey of [undefined, null, 5, {}, 10n]) {
      expect(await client.validate({ ...REQUEST, streamKey: streamKey as never })).toMatchObject({ valid: false });
    }
  });

  it("refuses a key if the answer is not an ack", async () => {
    const client = await rtmp.createConnected();
    for (const answer of [undefined, "yes", { ok: true }, { ok: true, valid: "true", sessionId: "session-1" }]) {
      server.answer("stream:validate", () => answer as never);
      expect(await client.validate(REQUEST)).toEqual({ valid: false, reason: "unreachable" });
    }
  });

  it("refuses a key without an answer in time, and ends the session of a late answer", async () => {
    server.answer("stream:validate", () => null);
    const client = await rtmp.createConnected();
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

  it("ends no session for a late refusal", async () => {
    server.answer("stream:validate", () => null);
    const client = await rtmp.createConnected();
    const answer = client.validate(REQUEST);
    await server.heard("stream:validate");
    clock.advance(ANSWER_TIMEOUT_MS);
    await answer;
    server.sendLate("stream:validate", { ok: true, valid: false, reason: "unknown" });
    server.answerAsUsual("stream:validate");
    await rtmp.roundTrip(client);
    expect(server.count("stream:ended")).toBe(0);
  });

  it("refuses a key without a connection in time, and does not ask later", async () => {
    await server.stop();
    const answer = rtmp.create().validate(REQUEST);
    clock.advance(ANSWER_TIMEOUT_MS);
    expect(await answer).toEqual({ valid: false, reason: "unreachable" });
    await server.start();
    const client = await rtmp.createConnected();
    await rtmp.roundTrip(client);
    expect(server.calls.filter(({ payload }) => payload.streamKey === "right-key")).toEqual([]);
  });

  it("waits for a connection that is being made", async () => {
    await server.stop();
    const client = rtmp.create();
    const answer = client.validate(REQUEST);
    await waitFor(() => rtmp.problems.length > 0, { what: "a first attempt in vain" });
    await server.start();
    expect(await answer).toMatchObject({ valid: true });
  });

  it("asks again if the connection breaks before the answer", async () => {
    server.answer("stream:validate", () => null);
    const client = await rtmp.createConnected();
    const answer = client.validate(REQUEST);
    await server.heard("stream:validate");
    await server.stop();
    server.answerAsUsual("stream:validate");
    await server.start();
    expect(await answer).toMatchObject({ valid: true });
    expect(server.count("stream:validate")).toBe(2);
  });

  it("refuses a key after close, also if the question was under way", async () => {
    const client = await rtmp.createConnected();
    await client.close();
    expect(await client.validate(REQUEST)).toEqual({ valid: false, reason: "unreachable" });

    server.answer("stream:validate", () => null);
    const other = await rtmp.createConnected();
    const answer = other.validate(REQUEST);
    await waitFor(() => server.count("stream:validate") > 0, { what: "the question" });
    await other.close();
    expect(await answer).toEqual({ valid: false, reason: "unreachable" });
  });
});

describe("the connection of a media server", () => {
  it("reports a refused secret once, refuses keys at once meanwhile, and tries again slowly", async () => {
    server.refuse = { code: "unauthenticated" };
    const client = rtmp.create();
    await waitFor(() => rtmp.problems.length > 0, { what: "the problem" });
    expect(rtmp.problems).toMatchObject([{ cause: "unauthenticated" }]);
    expect(JSON.stringify(rtmp.problems)).not.toContain(SECRET);
    expect(await client.validate(REQUEST)).toEqual({ valid: false, reason: "unreachable" });
    clock.advance(30_000);
    await waitFor(() => server.handshakes > 1, { what: "another attempt" });
    expect(server.handshakes).toBe(2);
    expect(rtmp.problems).toHaveLength(1);
    server.refuse = null;
    await rtmp.advanceUntil(() => client.connected, "the connection");
    expect(await client.validate(REQUEST)).toMatchObject({ valid: true });
  });

  it("reports every change of the cause", async () => {
    const client = await rtmp.createConnected();
    await server.stop();
    await waitFor(() => rtmp.problems.length === 1, { what: "the first problem" });
    server.refuse = { code: "unauthenticated" };
    await server.start();
    await waitFor(() => rtmp.problems.length === 2, { what: "the second" });
    server.refuse = { code: "unavailable", retryAfterMs: 1000 };
    await rtmp.advanceUntil(() => rtmp.problems.length === 3, "the third");
    server.refuse = null;
    await rtmp.advanceUntil(() => client.connected, "the connection");
    expect(rtmp.problems.map(({ cause }) => cause)).toEqual(["unreachable", "unauthenticated", "refused"]);
  });

  it("emits a warning of the process without a listener for problems", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on("warning", onWarning);
    server.refuse = { code: "unauthenticated" };
    const client = createRtmpClient({ url: server.url, secret: SECRET, server: "ingest-1", clock });
    await waitFor(() => warnings.length > 0, { what: "the warning" });
    process.off("warning", onWarning);
    expect(warnings[0]).toMatchObject({ name: "PlayheadWarning", code: "unauthenticated" });
    await client.close();
  });

  it("connects again after the server has closed the connection", async () => {
    const client = await rtmp.createConnected();
    server.io.disconnectSockets();
    await waitFor(() => !client.connected, { what: "the end" });
    await rtmp.advanceUntil(() => client.connected, "the connection");
  });

  it("moves its live sessions to a new connection within the time that a draining server gives", async () => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openLive(client);
    server.io.emit("server:draining", { reconnectInMs: 3000 });
    await rtmp.roundTrip(client);
    expect(server.auths).toHaveLength(1);
    clock.advance(3000);
    await waitFor(() => server.auths.length === 2, { what: "another connection" });
    server.drop(session.sessionId, "revoked");
    await waitFor(() => session.dropped, { what: "a drop over the new connection" });
  });

  it("sends one boot id for all clients of a process", async () => {
    await rtmp.createConnected();
    await rtmp.createConnected({ server: "ingest-2" });
    const [first, second] = server.auths;
    expect(first?.boot).toMatch(/^[0-9a-f-]{36}$/);
    expect(second).toMatchObject({ server: "ingest-2", boot: first?.boot });
  });

  it("closes when the server has acknowledged the ends of the live sessions", async () => {
    const client = await rtmp.createConnected();
    await rtmp.openLive(client, "connection-1");
    await rtmp.openLive(client, "connection-2");
    await client.close();
    expect(client.connected).toBe(false);
    const ended = server.calls.filter(({ event }) => event === "stream:ended").map(({ payload }) => payload.sessionId);
    expect(ended).toEqual(["session-1", "session-2"]);
  });

  it("closes after two seconds if the server acknowledges nothing", async () => {
    const client = await rtmp.createConnected();
    await rtmp.openLive(client);
    server.answer("stream:ended", () => null);
    const closed = client.close();
    await server.heard("stream:ended");
    clock.advance(2000);
    await closed;
    expect(client.connected).toBe(false);
  });

  it("closes at once without a connection", async () => {
    await server.stop();
    const client = rtmp.create();
    await client.close();
    const answer: Validation = await client.validate(REQUEST);
    expect(answer).toEqual({ valid: false, reason: "unreachable" });
    await server.start();
  });
});
