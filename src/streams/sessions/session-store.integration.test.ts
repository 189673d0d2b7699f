import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  codeOf,
  EDGE,
  expectSession,
  idOf,
  newLive,
  type SessionSteps,
  stateOf,
  useSessionSteps,
} from "../../../test/helpers/session-steps.ts";
import { LEASE_SECONDS, type StreamSteps } from "../../../test/helpers/stream-sessions.ts";
import { hashStreamKey } from "../keys/stream-key.ts";
import type { SessionStore } from "./session-store.ts";

/*
 * What media servers report of a session, and what that makes of it.
 */

let made: SessionSteps;
let steps: StreamSteps;
let store: SessionStore;
useSessionSteps((given) => {
  made = given;
  ({ steps, store } = given);
});

describe("a session", () => {
  it("goes from ready to live to reconnecting to ended", async () => {
    const stream = await steps.newStream();
    const sessionId = idOf(await steps.claim(stream, "c1"));
    expect(await steps.statusOf(stream)).toBe("ready");
    await expectSession(made, stream, { state: "reserved", connections: 1, started_at: null });
    expect(await store.start(EDGE, sessionId, LEASE_SECONDS)).toMatchObject({ status: "live", endedAt: null });
    await expectSession(made, stream, { state: "live", reserved_until: null });
    await store.report(EDGE, sessionId, { bitrateKbps: 2500.4, viewers: 3 }, LEASE_SECONDS);
    expect((await steps.service.get(stream.id)).bitrateKbps).toBe(2500);
    expect(await store.end(EDGE, sessionId, "unpublished")).toMatchObject({
      status: "reconnecting",
      bitrateKbps: null,
    });
    await expectSession(made, stream, { state: "reconnecting", end_reason: "unpublished", lease_until: null });
    await steps.pass(stream, "reconnect_until");
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("ended");
    await expectSession(made, stream, {
      state: "ended",
      end_reason: "unpublished",
      peak_viewers: 3,
      mean_bitrate_kbps: 2500,
    });
  });

  it("is over at once when the stream's reconnect window is 0 s", async () => {
    const { stream, sessionId } = await newLive(made, { reconnectWindowSeconds: 0 });
    expect(await store.end(EDGE, sessionId, "ended")).toMatchObject({ status: "ended" });
    await expectSession(made, stream, { state: "ended", end_reason: "ended" });
  });

  it("begins anew for the next encoder after the last session ended", async () => {
    const { stream, sessionId } = await newLive(made, { reconnectWindowSeconds: 0 });
    await store.end(EDGE, sessionId, "ended");
    const next = idOf(await steps.claim(stream, "c2"));
    expect(await store.start(EDGE, next, LEASE_SECONDS)).toMatchObject({ status: "live" });
    expect((await steps.sessionsOf(stream)).map(({ state }) => state)).toEqual(["ended", "live"]);
  });

  it("starts once, however often the start is told", async () => {
    const { stream, sessionId } = await newLive(made);
    const before = await steps.sessionsOf(stream);
    await store.start(EDGE, sessionId, LEASE_SECONDS);
    expect((await steps.sessionsOf(stream)).map(({ started_at }) => started_at)).toEqual([before[0]?.started_at]);
  });

  it("accepts figures with fractions, as media servers measure them", async () => {
    const { sessionId } = await newLive(made);
    const figures = { bitrateKbps: 0.6, viewers: 0, mediaTimeMs: 1234.567 };
    expect(await codeOf(store.report(EDGE, sessionId, figures, LEASE_SECONDS))).toBe("ok");
    expect(await codeOf(store.report(EDGE, sessionId, { mediaTimeMs: Number.MAX_SAFE_INTEGER }, LEASE_SECONDS))).toBe(
      "ok",
    );
  });

  it("counts every report in its peak and its mean, whatever comes last", async () => {
    const { stream, sessionId } = await newLive(made);
    for (const [bitrateKbps, viewers] of [
      [1000, 5],
      [3000, 50],
      [2000, 7],
    ] as const) {
      await store.report(EDGE, sessionId, { bitrateKbps, viewers }, LEASE_SECONDS);
    }
    await store.report(EDGE, sessionId, {}, LEASE_SECONDS);
    expect(await steps.service.get(stream.id)).toMatchObject({ bitrateKbps: 2000, viewers: 7 });
    await expectSession(made, stream, { peak_viewers: 50, mean_bitrate_kbps: 2000 });
  });
});

describe("a session that is reported", () => {
  it("is not found for another server, another boot, or a made-up id", async () => {
    const { stream, sessionId } = await newLive(made);
    const before = await stateOf(made, stream);
    const strangers = [
      [{ server: "other", boot: "b1" }, sessionId],
      [{ server: "edge", boot: "b2" }, sessionId],
      [{ server: "edge", boot: "" }, sessionId],
      [EDGE, randomUUID()],
      [EDGE, stream.id],
    ] as const;
    for (const [owner, id] of strangers) {
      expect(await codeOf(store.start(owner, id, LEASE_SECONDS))).toBe("not_found");
      expect(await codeOf(store.report(owner, id, { viewers: 1 }, LEASE_SECONDS))).toBe("not_found");
      expect(await codeOf(store.end(owner, id, "ended"))).toBe("not_found");
    }
    expect(await stateOf(made, stream)).toEqual(before);
  });

  it("is a conflict once it has ended", async () => {
    const { stream, sessionId } = await newLive(made, { reconnectWindowSeconds: 0 });
    await store.end(EDGE, sessionId, "ended");
    const before = await stateOf(made, stream);
    expect(await codeOf(store.start(EDGE, sessionId, LEASE_SECONDS))).toBe("conflict");
    expect(await codeOf(store.report(EDGE, sessionId, {}, LEASE_SECONDS))).toBe("conflict");
    expect(await codeOf(store.end(EDGE, sessionId, "again"))).toBe("conflict");
    expect(await stateOf(made, stream)).toEqual(before);
  });

  it("accepts no report before its start", async () => {
    const stream = await steps.newStream();
    const sessionId = idOf(await steps.claim(stream, "c1"));
    expect(await codeOf(store.report(EDGE, sessionId, { viewers: 1 }, LEASE_SECONDS))).toBe("conflict");
    await store.reportConnection(
      { server: "edge", connection: "c1", keyHash: hashStreamKey(stream.key) },
      {},
      LEASE_SECONDS,
    );
    await expectSession(made, stream, { state: "reserved" });
  });

  it("belongs to the next boot when the media server names a new boot", async () => {
    const { stream, sessionId } = await newLive(made);
    const again = idOf(await steps.claim(stream, "c1", { boot: "b2" }));
    expect(again).not.toBe(sessionId);
    expect(await steps.statusOf(stream)).toBe("reconnecting");
    expect(await codeOf(store.report(EDGE, sessionId, {}, LEASE_SECONDS))).toBe("not_found");
    await store.start({ server: "edge", boot: "b2" }, again, LEASE_SECONDS);
    await expectSession(made, stream, { state: "live", boot: "b2", connections: 2 });
  });

  it("belongs to a new boot at once when nginx publishes with a connection id that it had before", async () => {
    const nginx = { server: "nginx-1", boot: null, starts: true, mayOust: "other servers" } as const;
    const stream = await steps.newStream();
    const other = await steps.newStream();
    const third = await steps.newStream();
    await steps.claim(stream, "1", nginx);
    await steps.claim(other, "2", nginx);
    expect(await steps.sessionsOf(other)).toMatchObject([{ boot: "1" }]);
    expect(await steps.claim(stream, "5", nginx)).toEqual({ valid: false, reason: "already_live" });
    expect(await steps.claim(stream, "1", nginx)).toMatchObject({ valid: true, stream: { status: "live" } });
    expect(await steps.sessionsOf(stream)).toMatchObject([{ boot: "2", state: "live", connections: 2 }]);
    await steps.claim(third, "3", nginx);
    expect(await steps.sessionsOf(third)).toMatchObject([{ boot: "2" }]);
  });

  it("of nginx's old boot gives way in every stream once one connection id has shown the new boot", async () => {
    const nginx = { server: "nginx-1", boot: null, starts: true, mayOust: "other servers" } as const;
    const [first, second] = [await steps.newStream(), await steps.newStream()];
    await steps.claim(first, "1", nginx);
    await steps.claim(second, "2", nginx);
    expect(await steps.claim(second, "7", nginx)).toEqual({ valid: false, reason: "already_live" });
    await steps.claim(first, "1", nginx);
    expect(await steps.claim(second, "7", nginx)).toMatchObject({ valid: true, stream: { status: "live" } });
  });

  it("belongs to the same boot when a connection that was unpublished publishes again", async () => {
    const nginx = { server: "nginx-1", boot: null, starts: true, mayOust: "other servers" } as const;
    const [first, second] = [await steps.newStream(), await steps.newStream()];
    await steps.claim(first, "1", nginx);
    await steps.claim(second, "2", nginx);
    await steps.store.endConnection({ server: "nginx-1", connection: "1", keyHash: null }, "unpublished");
    expect(await steps.claim(first, "1", nginx)).toMatchObject({ valid: true });
    expect(await steps.claim(second, "7", nginx)).toEqual({ valid: false, reason: "already_live" });
  });
});
