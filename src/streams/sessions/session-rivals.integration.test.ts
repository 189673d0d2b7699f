import { describe, expect, it } from "vitest";
import type { TestDatabase } from "../../../test/helpers/database.ts";
import {
  codeOf,
  EDGE,
  expectSession,
  idOf,
  newLive,
  type SessionSteps,
  useSessionSteps,
} from "../../../test/helpers/session-steps.ts";
import { LEASE_SECONDS, type StreamSteps } from "../../../test/helpers/stream-sessions.ts";
import { ClaimWriter } from "../claims/claim-writer.ts";
import { findDrops } from "./dropped-sessions-sql.ts";
import type { SessionStore } from "./session-store.ts";

/*
 * Who gets a stream that several encoders want.
 */

let made: SessionSteps;
let steps: StreamSteps;
let store: SessionStore;
let database: TestDatabase;
useSessionSteps((given) => {
  made = given;
  ({ steps, store, database } = given);
});

describe("a stream that two encoders want", () => {
  it("goes to one of fifty that ask at the same moment through two writers", async () => {
    const stream = await steps.newStream();
    const writers = [0, 1].map(() => new ClaimWriter(database, { defaultReconnectSeconds: 60 }));
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, i) => steps.claim(stream, `c${i}`, { server: `edge-${i % 5}` }, writers[i % 2])),
    );
    expect(results.filter(({ valid }) => valid)).toHaveLength(1);
    expect(results.filter((result) => !result.valid && result.reason !== "already_live")).toEqual([]);
    expect(await steps.sessionsOf(stream)).toHaveLength(1);
  });

  it("is refused to the second while the first is reserved, and while it is live", async () => {
    const stream = await steps.newStream();
    const first = idOf(await steps.claim(stream, "c1"));
    expect(await steps.claim(stream, "c2")).toEqual({ valid: false, reason: "already_live" });
    await store.start(EDGE, first, LEASE_SECONDS);
    expect(await steps.claim(stream, "c2")).toEqual({ valid: false, reason: "already_live" });
    expect(await steps.claim(stream, "c1", { server: "elsewhere" })).toEqual({ valid: false, reason: "already_live" });
  });

  it("keeps its session when its connection asks again, reserved or live", async () => {
    const stream = await steps.newStream();
    const first = idOf(await steps.claim(stream, "c1"));
    expect(idOf(await steps.claim(stream, "c1"))).toBe(first);
    await store.start(EDGE, first, LEASE_SECONDS);
    expect(idOf(await steps.claim(stream, "c1"))).toBe(first);
    expect(await steps.statusOf(stream)).toBe("live");
    await expectSession(made, stream, { state: "live", connections: 1 });
  });

  it("keeps its session when an encoder that came back asks again, and counts that once", async () => {
    const { stream, sessionId } = await newLive(made);
    await store.end(EDGE, sessionId, "ended");
    const back = idOf(await steps.claim(stream, "c2"));
    expect(idOf(await steps.claim(stream, "c2"))).toBe(back);
    expect(await steps.claim(stream, "c3")).toEqual({ valid: false, reason: "already_live" });
    expect(await store.start(EDGE, back, LEASE_SECONDS)).toMatchObject({ status: "live" });
    await expectSession(made, stream, { state: "live", connections: 2 });
  });

  it("goes to others when its reservation lapsed, and the late start finds no session then", async () => {
    const stream = await steps.newStream();
    const slow = idOf(await steps.claim(stream, "c1"));
    await steps.pass(stream, "reserved_until");
    const next = idOf(await steps.claim(stream, "c2"));
    expect(next).not.toBe(slow);
    expect(await codeOf(store.start(EDGE, slow, LEASE_SECONDS))).toBe("not_found");
    expect(await codeOf(store.end(EDGE, slow, "ended"))).toBe("not_found");
    expect(await store.start(EDGE, next, LEASE_SECONDS)).toMatchObject({ status: "live" });
    await expectSession(made, stream, { connections: 1, connection: "c2" });
  });

  it("may be started late when nobody else took it", async () => {
    const stream = await steps.newStream();
    const slow = idOf(await steps.claim(stream, "c1"));
    await steps.pass(stream, "reserved_until");
    expect(await store.start(EDGE, slow, LEASE_SECONDS)).toMatchObject({ status: "live" });
  });

  it("may be started late by an encoder that came back, when nobody else took it", async () => {
    const { stream, sessionId } = await newLive(made);
    await store.end(EDGE, sessionId, "ended");
    const back = idOf(await steps.claim(stream, "c2"));
    await steps.pass(stream, "reserved_until");
    expect(await store.start(EDGE, back, LEASE_SECONDS)).toMatchObject({ status: "live" });
  });

  it("is free again when nobody starts a reservation", async () => {
    const stream = await steps.newStream();
    await steps.claim(stream, "c1");
    await steps.deadlines.sweep(stream.id);
    expect(await steps.sessionsOf(stream)).toHaveLength(1);
    await steps.pass(stream, "reserved_until");
    expect(await steps.deadlines.findDue()).toContain(stream.id);
    await steps.deadlines.sweep(stream.id);
    expect(await steps.sessionsOf(stream)).toEqual([]);
    expect(await steps.statusOf(stream)).toBe("ready");
  });

  it("is not claimed for a caller who does not wait any more", async () => {
    const stream = await steps.newStream();
    const signal = AbortSignal.abort(new Error("gone"));
    await expect(steps.claim(stream, "c1", { signal })).rejects.toThrow("gone");
    expect(await steps.sessionsOf(stream)).toEqual([]);
  });
});

describe("a takeover", () => {
  it("ends the live session, names its connection to be dropped, and begins another session", async () => {
    const { stream, sessionId } = await newLive(made, { policy: "takeover" });
    const result = await steps.claim(stream, "c2");
    expect(result).toMatchObject({
      valid: true,
      ousted: { ...EDGE, connection: "c1", sessionId, reason: "taken_over" },
    });
    expect(await steps.sessionsOf(stream)).toMatchObject([
      { state: "ended", end_reason: "taken_over", drop_reason: "taken_over" },
      { state: "reserved", connection: "c2" },
    ]);
    expect(await findDrops(database.pool, { streamIds: [stream.id] })).toMatchObject([
      { sessionId, reason: "taken_over" },
    ]);
    expect(await findDrops(database.pool, EDGE)).toContainEqual(
      expect.objectContaining({ sessionId, reason: "taken_over" }),
    );
    expect(await codeOf(store.report(EDGE, sessionId, {}, LEASE_SECONDS))).toBe("conflict");
    expect(await steps.findDisagreements()).toEqual([]);
    await store.start(EDGE, idOf(result), LEASE_SECONDS);
    const { startedAt } = await steps.service.get(stream.id);
    expect(startedAt).toBe((await steps.sessionsOf(stream)).at(-1)?.started_at?.toISOString());
  });

  it("leaves nothing live when the new encoder never starts", async () => {
    const { stream } = await newLive(made, { policy: "takeover" });
    await steps.claim(stream, "c2");
    await steps.pass(stream, "reserved_until");
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("ended");
    expect(await steps.sessionsOf(stream)).toHaveLength(1);
  });

  it("ends no session of a server that cannot drop a publisher", async () => {
    const { stream } = await newLive(made, { policy: "takeover" });
    const who = { mayOust: "other servers" } as const;
    expect(await steps.claim(stream, "c2", who)).toEqual({ valid: false, reason: "already_live" });
    expect(await steps.claim(stream, "c2", { ...who, server: "elsewhere" })).toMatchObject({ valid: true });
  });
});
