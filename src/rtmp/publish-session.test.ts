import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FakeClock } from "../../test/helpers/fake-clock.ts";
import type { FakePublishServer } from "../../test/helpers/fake-publish-server.ts";
import { REPORT_INTERVAL_MS, RtmpFixture } from "../../test/helpers/rtmp-fixture.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import type { Ack } from "../protocol/ack.ts";

const DAY_MS = 24 * 3600 * 1000;

let rtmp: RtmpFixture;
let server: FakePublishServer;
let clock: FakeClock;

beforeEach(async () => {
  rtmp = await RtmpFixture.start();
  ({ server, clock } = rtmp);
});

afterEach(() => rtmp.close());

function refusing(code: string): () => Ack {
  return () => ({ ok: false, error: { code: code as never, message: "as the test says" } });
}

describe("the start and the end of a session", () => {
  it.each(["unavailable", "rate_limited", "overloaded", "internal"])(
    "are sent again if the server answers %s",
    async (code) => {
      const client = await rtmp.createConnected();
      const session = await rtmp.openAdmitted(client);
      server.answer("stream:started", refusing(code));
      server.answer("stream:ended", refusing(code));
      session.started();
      await rtmp.advanceUntil(() => server.count("stream:started") >= 3, "the start three times");
      server.answerAsUsual("stream:started");
      session.ended("over");
      await rtmp.advanceUntil(() => server.count("stream:ended") >= 3, "the end three times");
      server.answerAsUsual("stream:ended");
      const before = server.count("stream:ended");
      await rtmp.advanceUntil(() => server.count("stream:ended") > before, "the end that is taken");
      await rtmp.roundTrip(client);
      const after = server.calls.length;
      clock.advance(60_000);
      await rtmp.roundTrip(client);
      expect(server.calls.slice(after).map(({ event }) => event)).toEqual(["stream:validate"]);
      expect(server.calls.findLast(({ event }) => event === "stream:ended")?.payload).toEqual({
        sessionId: "session-1",
        reason: "over",
      });
    },
  );

  it("are sent again if no answer comes", async () => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openAdmitted(client);
    server.answer("stream:started", () => null);
    session.started();
    await rtmp.advanceUntil(() => server.count("stream:started") >= 2, "the start again");
  });

  it("are sent in this order when the connection is back", async () => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openAdmitted(client);
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

  it("are sent once each, even if their methods are called twice", async () => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openLive(client);
    session.started();
    session.ended();
    session.ended("again");
    session.started();
    await server.heard("stream:ended");
    await rtmp.roundTrip(client);
    expect([server.count("stream:started"), server.count("stream:ended")]).toEqual([1, 1]);
  });

  it.each(["not_found", "conflict", "bad_request"])("are given up if the server answers %s", async (code) => {
    const client = await rtmp.createConnected();
    const [first, second] = [
      await rtmp.openAdmitted(client, "connection-1"),
      await rtmp.openLive(client, "connection-2"),
    ];
    server.answer("stream:started", refusing(code));
    server.answer("stream:ended", refusing(code));
    first.started();
    second.ended();
    await waitFor(() => first.dropped, { what: "the session to be dropped" });
    expect(first.dropped).toBe("ended");
    expect(second.dropped).toBeNull();
    await rtmp.roundTrip(client);
    const before = server.calls.length;
    clock.advance(60_000);
    await rtmp.roundTrip(client);
    expect(server.calls.length).toBe(before + 1);
  });

  it("send a reason of at most 200 characters", async () => {
    const session = await rtmp.openLive(await rtmp.createConnected());
    session.ended("x".repeat(1000));
    expect((await server.heard("stream:ended")).payload.reason).toBe("x".repeat(200));
  });
});

describe("the reports of a session", () => {
  const reports = () => server.calls.filter(({ event }) => event === "stream:stats").map(({ payload }) => payload);

  it("carry the newest figures once per interval, and renew the lease without figures", async () => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openLive(client);
    session.report({ bitrateKbps: 100, viewers: 1 });
    session.report({ bitrateKbps: 200, mediaTimeMs: 5000 });
    await rtmp.roundTrip(client);
    expect(reports()).toEqual([]);
    clock.advance(REPORT_INTERVAL_MS);
    await rtmp.roundTrip(client);
    clock.advance(REPORT_INTERVAL_MS);
    await rtmp.roundTrip(client);
    expect(reports()).toEqual([
      { sessionId: "session-1", bitrateKbps: 200, viewers: 1, mediaTimeMs: 5000 },
      { sessionId: "session-1" },
    ]);
  });

  it("begin when the server has acknowledged the start, and stop with the end", async () => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openAdmitted(client);
    clock.advance(REPORT_INTERVAL_MS);
    server.answer("stream:started", () => null);
    session.started();
    clock.advance(REPORT_INTERVAL_MS);
    await rtmp.roundTrip(client);
    expect(reports()).toEqual([]);
    const other = await rtmp.createConnected();
    server.answerAsUsual("stream:started");
    const second = await rtmp.openLive(other, "connection-2");
    second.ended();
    await server.heard("stream:ended");
    clock.advance(3 * REPORT_INTERVAL_MS);
    await rtmp.roundTrip(other);
    expect(reports().filter(({ sessionId }) => sessionId === second.sessionId)).toEqual([]);
  });

  it("are not kept while there is no connection, and one is sent as soon as it is back", async () => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openLive(client);
    await server.stop();
    await waitFor(() => !client.connected, { what: "the connection to end" });
    for (const bitrateKbps of [1, 2, 3]) {
      session.report({ bitrateKbps });
      clock.advance(REPORT_INTERVAL_MS);
    }
    await server.start();
    await server.heard("stream:stats");
    await rtmp.roundTrip(client);
    expect(reports()).toEqual([{ sessionId: "session-1", bitrateKbps: 3 }]);
  });

  it("renew the lease even if a figure is invalid", async () => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openLive(client);
    server.answer("stream:stats", ({ bitrateKbps }) =>
      bitrateKbps === undefined ? ({ ok: true } as Ack) : refusing("bad_request")(),
    );
    session.report({ bitrateKbps: Number.NaN });
    clock.advance(REPORT_INTERVAL_MS);
    await waitFor(() => reports().length === 2, { what: "the report without figures" });
    expect(reports()).toEqual([{ sessionId: "session-1", bitrateKbps: null }, { sessionId: "session-1" }]);
    expect(session.dropped).toBeNull();
  });

  it.each(["not_found", "conflict"])("drop the session if the server answers %s", async (code) => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openLive(client);
    const heard: string[] = [];
    session.onDrop((reason) => heard.push(reason));
    server.answer("stream:stats", refusing(code));
    clock.advance(REPORT_INTERVAL_MS);
    await waitFor(() => heard.length > 0, { what: "the drop" });
    clock.advance(3 * REPORT_INTERVAL_MS);
    await rtmp.roundTrip(client);
    expect(heard).toEqual(["ended"]);
    expect(reports()).toHaveLength(1);
  });

  it.each(["unavailable", "rate_limited", "internal"])("change nothing if the server answers %s", async (code) => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openLive(client);
    server.answer("stream:stats", refusing(code));
    clock.advance(REPORT_INTERVAL_MS);
    await rtmp.roundTrip(client);
    clock.advance(REPORT_INTERVAL_MS);
    await rtmp.roundTrip(client);
    expect(reports()).toHaveLength(2);
    expect(session.dropped).toBeNull();
  });
});

describe("a dropped session", () => {
  it("is the one that the server names and no other, and sends nothing more", async () => {
    const client = await rtmp.createConnected();
    const [first, second] = [await rtmp.openLive(client, "connection-1"), await rtmp.openLive(client, "connection-2")];
    const heard: string[] = [];
    first.onDrop((reason) => heard.push(`first ${reason}`));
    second.onDrop((reason) => heard.push(`second ${reason}`));
    server.drop(first.sessionId, "revoked");
    server.drop(first.sessionId, "revoked");
    server.drop("session-99", "revoked");
    await waitFor(() => first.dropped, { what: "the drop" });
    first.ended("cut");
    await rtmp.roundTrip(client);
    expect(heard).toEqual(["first revoked"]);
    expect(server.count("stream:ended")).toBe(0);
    expect(second.dropped).toBeNull();
  });

  it("calls a listener that is added after the drop", async () => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openLive(client);
    server.drop(session.sessionId, "disabled");
    await waitFor(() => session.dropped, { what: "the drop" });
    const heard: string[] = [];
    session.onDrop((reason) => heard.push(reason));
    expect(heard).toEqual(["disabled"]);
  });

  it("does not call a listener that was removed", async () => {
    const client = await rtmp.createConnected();
    const session = await rtmp.openLive(client);
    const heard: string[] = [];
    session.onDrop((reason) => heard.push(reason))();
    server.drop(session.sessionId, "disabled");
    await waitFor(() => session.dropped, { what: "the drop" });
    expect(heard).toEqual([]);
  });

  it("is dropped when its key expires, also without a connection", async () => {
    server.keys.set("right-key", { lifetimeMs: 60_000 });
    const session = await rtmp.openLive(await rtmp.createConnected());
    await server.stop();
    clock.advance(59_999);
    expect(session.dropped).toBeNull();
    clock.advance(1);
    expect(session.dropped).toBe("expired");
    await server.start();
  });

  it("is dropped after 40 days if its key expires then, though no timer lasts that long", async () => {
    server.keys.set("right-key", { lifetimeMs: 40 * DAY_MS });
    const short: FakeClock = {
      ...clock,
      after: (ms, run) => clock.after(ms > 2 ** 31 - 1 ? 1 : ms, run),
    };
    const session = await rtmp.openAdmitted(await rtmp.createConnected({ clock: short }));
    clock.advance(40 * DAY_MS - 1);
    expect(session.dropped).toBeNull();
    clock.advance(1);
    expect(session.dropped).toBe("expired");
  });

  it("is never one that has ended", async () => {
    server.keys.set("right-key", { lifetimeMs: 60_000 });
    const client = await rtmp.createConnected();
    const session = await rtmp.openLive(client);
    session.ended();
    server.drop(session.sessionId, "revoked");
    await rtmp.roundTrip(client);
    clock.advance(60_000);
    expect(session.dropped).toBeNull();
  });
});
