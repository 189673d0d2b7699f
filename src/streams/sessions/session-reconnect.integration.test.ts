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
 * What keeps a session over a break: the reconnect window, and a lease that is lost and found.
 */

let made: SessionSteps;
let steps: StreamSteps;
let store: SessionStore;
useSessionSteps((given) => {
  made = given;
  ({ steps, store } = given);
});

describe("an encoder that comes back", () => {
  it("goes on with the same session over another connection", async () => {
    const { stream, sessionId } = await newLive(made);
    await store.end(EDGE, sessionId, "ended");
    const back = idOf(await steps.claim(stream, "c2", { server: "other", boot: "x" }));
    expect(back).not.toBe(sessionId);
    expect(await steps.statusOf(stream)).toBe("reconnecting");
    const { startedAt } = await store.start({ server: "other", boot: "x" }, back, LEASE_SECONDS);
    const rows = await steps.sessionsOf(stream);
    expect(rows).toMatchObject([{ state: "live", connections: 2, server: "other", ended_at: null, end_reason: null }]);
    expect(startedAt).toBe(rows[0]?.started_at?.toISOString());
  });

  it("is not ended by late reports of its old connection", async () => {
    const { stream, sessionId } = await newLive(made);
    await store.end(EDGE, sessionId, "ended");
    const back = idOf(await steps.claim(stream, "c2"));
    for (const state of ["reserved", "live"]) {
      if (state === "live") await store.start(EDGE, back, LEASE_SECONDS);
      const before = await stateOf(made, stream);
      expect(await codeOf(store.end(EDGE, sessionId, "late"))).toBe("not_found");
      expect(await codeOf(store.report(EDGE, sessionId, { viewers: 9 }, LEASE_SECONDS))).toBe("not_found");
      await store.endConnection({ server: "edge", connection: "c1", keyHash: hashStreamKey(stream.key) }, "late");
      await store.endConnection({ server: "edge", connection: "c1", keyHash: null }, "late");
      expect(await stateOf(made, stream)).toEqual(before);
    }
  });

  it("finds the stream ended when its window has passed", async () => {
    const { stream, sessionId } = await newLive(made);
    await store.end(EDGE, sessionId, "ended");
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("reconnecting");
    await steps.pass(stream, "reconnect_until");
    await steps.deadlines.sweep(stream.id);
    await expectSession(made, stream, { state: "ended" });
    const back = idOf(await steps.claim(stream, "c2"));
    await store.start(EDGE, back, LEASE_SECONDS);
    expect(await steps.sessionsOf(stream)).toHaveLength(2);
  });

  it("keeps its reservation although the window passes meanwhile", async () => {
    const { stream, sessionId } = await newLive(made);
    await store.end(EDGE, sessionId, "ended");
    const back = idOf(await steps.claim(stream, "c2"));
    await steps.pass(stream, "reconnect_until");
    expect(await steps.deadlines.findDue()).not.toContain(stream.id);
    await steps.deadlines.sweep(stream.id);
    expect(await store.start(EDGE, back, LEASE_SECONDS)).toMatchObject({ status: "live" });
    await expectSession(made, stream, { connections: 2 });
  });

  it("finds the stream ended when it was let in and never started", async () => {
    const { stream, sessionId } = await newLive(made);
    await store.end(EDGE, sessionId, "ended");
    await steps.claim(stream, "c2");
    await steps.pass(stream, "reconnect_until");
    await steps.pass(stream, "reserved_until");
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("ended");
  });

  it("has the rest of the window to come back when it goes before it starts", async () => {
    const { stream, sessionId } = await newLive(made);
    await store.end(EDGE, sessionId, "ended");
    const back = idOf(await steps.claim(stream, "c2"));
    await store.end(EDGE, back, "refused by the media server");
    expect(await steps.statusOf(stream)).toBe("reconnecting");
    expect((await steps.claim(stream, "c3")).valid).toBe(true);
  });
});

describe("a lost lease", () => {
  async function newLost() {
    const live = await newLive(made);
    await steps.pass(live.stream, "lease_until");
    expect(await steps.deadlines.findDue()).toContain(live.stream.id);
    await steps.deadlines.sweep(live.stream.id);
    expect(await steps.statusOf(live.stream)).toBe("reconnecting");
    return live;
  }

  it("makes the stream reconnecting, and a report of the same session makes it live again", async () => {
    const { stream, sessionId } = await newLost();
    await expectSession(made, stream, { state: "reconnecting", end_reason: "lease_lost" });
    await store.report(EDGE, sessionId, { viewers: 2 }, LEASE_SECONDS);
    expect(await steps.service.get(stream.id)).toMatchObject({ status: "live", viewers: 2 });
    await expectSession(made, stream, { state: "live", connections: 1, end_reason: null, ended_at: null });
  });

  it("lets another encoder have the stream, and the silent one does not get it back", async () => {
    const { stream, sessionId } = await newLost();
    const next = idOf(await steps.claim(stream, "c2"));
    expect(await codeOf(store.report(EDGE, sessionId, {}, LEASE_SECONDS))).toBe("not_found");
    expect(await codeOf(store.report(EDGE, next, {}, LEASE_SECONDS))).toBe("conflict");
    await store.start(EDGE, next, LEASE_SECONDS);
    await expectSession(made, stream, { state: "live", connection: "c2", connections: 2 });
  });

  it("does not count as the encoder's end: that is still accepted", async () => {
    const { stream, sessionId } = await newLost();
    expect(await store.end(EDGE, sessionId, "ended")).toMatchObject({ status: "reconnecting" });
    expect(await codeOf(store.report(EDGE, sessionId, {}, LEASE_SECONDS))).toBe("conflict");
    await expectSession(made, stream, { end_reason: "ended" });
  });

  it("does not happen while reports come", async () => {
    const { stream, sessionId } = await newLive(made);
    await steps.pass(stream, "lease_until");
    await store.report(EDGE, sessionId, {}, LEASE_SECONDS);
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("live");
  });

  it("is undone after the session ended by it when the media of its connection moves again", async () => {
    const { stream } = await newLost();
    const at = { server: "edge", connection: "c1", keyHash: hashStreamKey(stream.key) };
    await steps.pass(stream, "reconnect_until");
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("ended");
    expect(await store.reportConnection({ ...at, connection: "c9" }, { mediaTimeMs: 5 }, LEASE_SECONDS)).toBeNull();
    expect(await steps.statusOf(stream)).toBe("ended");
    expect(await store.reportConnection(at, { mediaTimeMs: 5 }, LEASE_SECONDS)).toBeNull();
    expect(await steps.statusOf(stream)).toBe("live");
    expect(await steps.sessionsOf(stream)).toHaveLength(1);
  });

  it("is not undone for a session that ended otherwise, or whose stream is taken", async () => {
    const { stream, sessionId } = await newLive(made, { reconnectWindowSeconds: 0 });
    const at = { server: "edge", connection: "c1", keyHash: hashStreamKey(stream.key) };
    await store.end(EDGE, sessionId, "ended");
    await store.reportConnection(at, { mediaTimeMs: 5 }, LEASE_SECONDS);
    expect(await steps.statusOf(stream)).toBe("ended");
    const next = idOf(await steps.claim(stream, "c2"));
    await store.reportConnection(at, { mediaTimeMs: 6 }, LEASE_SECONDS);
    await expectSession(made, stream, { claim: next, state: "reserved" });
  });

  it("is not prevented by reports whose media time stands still", async () => {
    const { stream } = await newLive(made);
    const at = { server: "edge", connection: "c1", keyHash: hashStreamKey(stream.key) };
    await store.reportConnection(at, { mediaTimeMs: 1800 }, LEASE_SECONDS);
    await steps.pass(stream, "lease_until");
    await store.reportConnection(at, { mediaTimeMs: 1800 }, LEASE_SECONDS);
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("reconnecting");
    await store.reportConnection(at, { mediaTimeMs: 1800 }, LEASE_SECONDS);
    expect(await steps.statusOf(stream)).toBe("reconnecting");
    await store.reportConnection(at, { mediaTimeMs: 1900 }, LEASE_SECONDS);
    expect(await steps.statusOf(stream)).toBe("live");
  });

  it("happens only when the lease is over, whoever sweeps and however often", async () => {
    const { stream } = await newLive(made);
    await Promise.all(Array.from({ length: 10 }, () => steps.deadlines.sweep(stream.id)));
    expect(await steps.statusOf(stream)).toBe("live");
    await steps.pass(stream, "lease_until");
    await Promise.all(Array.from({ length: 10 }, () => steps.deadlines.sweep(stream.id)));
    expect(await steps.sessionsOf(stream)).toMatchObject([{ state: "reconnecting", end_reason: "lease_lost" }]);
  });
});
