import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../../test/helpers/database.ts";
import {
  createStreamSteps,
  LEASE_SECONDS,
  type StreamSteps,
  type TestStream,
} from "../../../test/helpers/stream-sessions.ts";
import type { AppError } from "../../errors.ts";
import type { ClaimResult } from "../claims/claim.ts";
import { ClaimWriter } from "../claims/claim-writer.ts";
import { hashStreamKey } from "../keys/stream-key.ts";
import { findDrops } from "./dropped-sessions-sql.ts";
import type { SessionStore } from "./session-store.ts";

/*
 * Who gets a stream, who keeps it, and what ends it: every step on a real database. After each test, streams and their
 * sessions must agree.
 */

let database: TestDatabase;
let steps: StreamSteps;
let store: SessionStore;
const EDGE = { server: "edge", boot: "b1" };

beforeAll(async () => {
  database = await createTestDatabase();
  steps = createStreamSteps(database);
  store = steps.store;
});
afterEach(async () => {
  const disagreements = await steps.findDisagreements();
  await database.query("DELETE FROM streams");
  expect(disagreements).toEqual([]);
});
afterAll(() => database.drop());

function idOf(result: ClaimResult): string {
  if (!result.valid) throw new Error(`the claim was refused: ${result.reason}`);
  return result.sessionId;
}

/** A stream with a session that is live. */
async function newLive(settings: Parameters<StreamSteps["newStream"]>[0] = {}, connection = "c1") {
  const stream = await steps.newStream(settings);
  const sessionId = idOf(await steps.claim(stream, connection));
  await store.start(EDGE, sessionId, LEASE_SECONDS);
  return { stream, sessionId };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "ok",
    (error: AppError) => error.code ?? `${error}`,
  );
}

/** Everything that is stored of a stream, to see that nothing changed. */
async function stateOf(stream: TestStream): Promise<unknown> {
  return database.query(
    "SELECT s.*, to_jsonb(e) AS session FROM streams s LEFT JOIN stream_sessions e ON e.stream_id = s.id WHERE s.id = $1",
    [stream.id],
  );
}

async function expectSession(stream: TestStream, expected: object): Promise<void> {
  expect((await steps.sessionsOf(stream)).at(-1)).toMatchObject(expected);
}

describe("a session", () => {
  it("goes from ready to live to reconnecting to ended", async () => {
    const stream = await steps.newStream();
    const sessionId = idOf(await steps.claim(stream, "c1"));
    expect(await steps.statusOf(stream)).toBe("ready");
    await expectSession(stream, { state: "reserved", connections: 1, started_at: null });
    expect(await store.start(EDGE, sessionId, LEASE_SECONDS)).toMatchObject({ status: "live", endedAt: null });
    await expectSession(stream, { state: "live", reserved_until: null });
    await store.report(EDGE, sessionId, { bitrateKbps: 2500.4, viewers: 3 }, LEASE_SECONDS);
    expect((await steps.service.get(stream.id)).bitrateKbps).toBe(2500);
    expect(await store.end(EDGE, sessionId, "unpublished")).toMatchObject({
      status: "reconnecting",
      bitrateKbps: null,
    });
    await expectSession(stream, { state: "reconnecting", end_reason: "unpublished", lease_until: null });
    await steps.pass(stream, "reconnect_until");
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("ended");
    await expectSession(stream, {
      state: "ended",
      end_reason: "unpublished",
      peak_viewers: 3,
      mean_bitrate_kbps: 2500,
    });
  });

  it("is over at once when the stream's reconnect window is 0 s", async () => {
    const { stream, sessionId } = await newLive({ reconnectWindowSeconds: 0 });
    expect(await store.end(EDGE, sessionId, "ended")).toMatchObject({ status: "ended" });
    await expectSession(stream, { state: "ended", end_reason: "ended" });
  });

  it("begins anew for the next encoder after the last session ended", async () => {
    const { stream, sessionId } = await newLive({ reconnectWindowSeconds: 0 });
    await store.end(EDGE, sessionId, "ended");
    const next = idOf(await steps.claim(stream, "c2"));
    expect(await store.start(EDGE, next, LEASE_SECONDS)).toMatchObject({ status: "live" });
    expect((await steps.sessionsOf(stream)).map(({ state }) => state)).toEqual(["ended", "live"]);
  });

  it("starts once, however often the start is told", async () => {
    const { stream, sessionId } = await newLive();
    const before = await steps.sessionsOf(stream);
    await store.start(EDGE, sessionId, LEASE_SECONDS);
    expect((await steps.sessionsOf(stream)).map(({ started_at }) => started_at)).toEqual([before[0]?.started_at]);
  });

  it("accepts figures with fractions, as media servers measure them", async () => {
    const { sessionId } = await newLive();
    const figures = { bitrateKbps: 0.6, viewers: 0, mediaTimeMs: 1234.567 };
    expect(await codeOf(store.report(EDGE, sessionId, figures, LEASE_SECONDS))).toBe("ok");
    expect(await codeOf(store.report(EDGE, sessionId, { mediaTimeMs: Number.MAX_SAFE_INTEGER }, LEASE_SECONDS))).toBe(
      "ok",
    );
  });

  it("counts every report in its peak and its mean, whatever comes last", async () => {
    const { stream, sessionId } = await newLive();
    for (const [bitrateKbps, viewers] of [
      [1000, 5],
      [3000, 50],
      [2000, 7],
    ] as const) {
      await store.report(EDGE, sessionId, { bitrateKbps, viewers }, LEASE_SECONDS);
    }
    await store.report(EDGE, sessionId, {}, LEASE_SECONDS);
    expect(await steps.service.get(stream.id)).toMatchObject({ bitrateKbps: 2000, viewers: 7 });
    await expectSession(stream, { peak_viewers: 50, mean_bitrate_kbps: 2000 });
  });
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
    await expectSession(stream, { state: "live", connections: 1 });
  });

  it("keeps its session when an encoder that came back asks again, and counts that once", async () => {
    const { stream, sessionId } = await newLive();
    await store.end(EDGE, sessionId, "ended");
    const back = idOf(await steps.claim(stream, "c2"));
    expect(idOf(await steps.claim(stream, "c2"))).toBe(back);
    expect(await steps.claim(stream, "c3")).toEqual({ valid: false, reason: "already_live" });
    expect(await store.start(EDGE, back, LEASE_SECONDS)).toMatchObject({ status: "live" });
    await expectSession(stream, { state: "live", connections: 2 });
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
    await expectSession(stream, { connections: 1, connection: "c2" });
  });

  it("may be started late when nobody else took it", async () => {
    const stream = await steps.newStream();
    const slow = idOf(await steps.claim(stream, "c1"));
    await steps.pass(stream, "reserved_until");
    expect(await store.start(EDGE, slow, LEASE_SECONDS)).toMatchObject({ status: "live" });
  });

  it("may be started late by an encoder that came back, when nobody else took it", async () => {
    const { stream, sessionId } = await newLive();
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

describe("an encoder that comes back", () => {
  it("goes on with the same session over another connection", async () => {
    const { stream, sessionId } = await newLive();
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
    const { stream, sessionId } = await newLive();
    await store.end(EDGE, sessionId, "ended");
    const back = idOf(await steps.claim(stream, "c2"));
    for (const state of ["reserved", "live"]) {
      if (state === "live") await store.start(EDGE, back, LEASE_SECONDS);
      const before = await stateOf(stream);
      expect(await codeOf(store.end(EDGE, sessionId, "late"))).toBe("not_found");
      expect(await codeOf(store.report(EDGE, sessionId, { viewers: 9 }, LEASE_SECONDS))).toBe("not_found");
      await store.endConnection({ server: "edge", connection: "c1", keyHash: hashStreamKey(stream.key) }, "late");
      await store.endConnection({ server: "edge", connection: "c1", keyHash: null }, "late");
      expect(await stateOf(stream)).toEqual(before);
    }
  });

  it("finds the stream ended when its window has passed", async () => {
    const { stream, sessionId } = await newLive();
    await store.end(EDGE, sessionId, "ended");
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("reconnecting");
    await steps.pass(stream, "reconnect_until");
    await steps.deadlines.sweep(stream.id);
    await expectSession(stream, { state: "ended" });
    const back = idOf(await steps.claim(stream, "c2"));
    await store.start(EDGE, back, LEASE_SECONDS);
    expect(await steps.sessionsOf(stream)).toHaveLength(2);
  });

  it("keeps its reservation although the window passes meanwhile", async () => {
    const { stream, sessionId } = await newLive();
    await store.end(EDGE, sessionId, "ended");
    const back = idOf(await steps.claim(stream, "c2"));
    await steps.pass(stream, "reconnect_until");
    expect(await steps.deadlines.findDue()).not.toContain(stream.id);
    await steps.deadlines.sweep(stream.id);
    expect(await store.start(EDGE, back, LEASE_SECONDS)).toMatchObject({ status: "live" });
    await expectSession(stream, { connections: 2 });
  });

  it("finds the stream ended when it was let in and never started", async () => {
    const { stream, sessionId } = await newLive();
    await store.end(EDGE, sessionId, "ended");
    await steps.claim(stream, "c2");
    await steps.pass(stream, "reconnect_until");
    await steps.pass(stream, "reserved_until");
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("ended");
  });

  it("has the rest of the window to come back when it goes before it starts", async () => {
    const { stream, sessionId } = await newLive();
    await store.end(EDGE, sessionId, "ended");
    const back = idOf(await steps.claim(stream, "c2"));
    await store.end(EDGE, back, "refused by the media server");
    expect(await steps.statusOf(stream)).toBe("reconnecting");
    expect((await steps.claim(stream, "c3")).valid).toBe(true);
  });
});

describe("a lost lease", () => {
  async function newLost() {
    const live = await newLive();
    await steps.pass(live.stream, "lease_until");
    expect(await steps.deadlines.findDue()).toContain(live.stream.id);
    await steps.deadlines.sweep(live.stream.id);
    expect(await steps.statusOf(live.stream)).toBe("reconnecting");
    return live;
  }

  it("makes the stream reconnecting, and a report of the same session makes it live again", async () => {
    const { stream, sessionId } = await newLost();
    await expectSession(stream, { state: "reconnecting", end_reason: "lease_lost" });
    await store.report(EDGE, sessionId, { viewers: 2 }, LEASE_SECONDS);
    expect(await steps.service.get(stream.id)).toMatchObject({ status: "live", viewers: 2 });
    await expectSession(stream, { state: "live", connections: 1, end_reason: null, ended_at: null });
  });

  it("lets another encoder have the stream, and the silent one does not get it back", async () => {
    const { stream, sessionId } = await newLost();
    const next = idOf(await steps.claim(stream, "c2"));
    expect(await codeOf(store.report(EDGE, sessionId, {}, LEASE_SECONDS))).toBe("not_found");
    expect(await codeOf(store.report(EDGE, next, {}, LEASE_SECONDS))).toBe("conflict");
    await store.start(EDGE, next, LEASE_SECONDS);
    await expectSession(stream, { state: "live", connection: "c2", connections: 2 });
  });

  it("does not count as the encoder's end: that is still accepted", async () => {
    const { stream, sessionId } = await newLost();
    expect(await store.end(EDGE, sessionId, "ended")).toMatchObject({ status: "reconnecting" });
    expect(await codeOf(store.report(EDGE, sessionId, {}, LEASE_SECONDS))).toBe("conflict");
    await expectSession(stream, { end_reason: "ended" });
  });

  it("does not happen while reports come", async () => {
    const { stream, sessionId } = await newLive();
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
    const { stream, sessionId } = await newLive({ reconnectWindowSeconds: 0 });
    const at = { server: "edge", connection: "c1", keyHash: hashStreamKey(stream.key) };
    await store.end(EDGE, sessionId, "ended");
    await store.reportConnection(at, { mediaTimeMs: 5 }, LEASE_SECONDS);
    expect(await steps.statusOf(stream)).toBe("ended");
    const next = idOf(await steps.claim(stream, "c2"));
    await store.reportConnection(at, { mediaTimeMs: 6 }, LEASE_SECONDS);
    await expectSession(stream, { claim: next, state: "reserved" });
  });

  it("is not prevented by reports whose media time stands still", async () => {
    const { stream } = await newLive();
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
    const { stream } = await newLive();
    await Promise.all(Array.from({ length: 10 }, () => steps.deadlines.sweep(stream.id)));
    expect(await steps.statusOf(stream)).toBe("live");
    await steps.pass(stream, "lease_until");
    await Promise.all(Array.from({ length: 10 }, () => steps.deadlines.sweep(stream.id)));
    expect(await steps.sessionsOf(stream)).toMatchObject([{ state: "reconnecting", end_reason: "lease_lost" }]);
  });
});

describe("a takeover", () => {
  it("ends the live session, names its connection to be dropped, and begins another session", async () => {
    const { stream, sessionId } = await newLive({ policy: "takeover" });
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
    const { stream } = await newLive({ policy: "takeover" });
    await steps.claim(stream, "c2");
    await steps.pass(stream, "reserved_until");
    await steps.deadlines.sweep(stream.id);
    expect(await steps.statusOf(stream)).toBe("ended");
    expect(await steps.sessionsOf(stream)).toHaveLength(1);
  });

  it("ends no session of a server that cannot drop a publisher", async () => {
    const { stream } = await newLive({ policy: "takeover" });
    const who = { mayOust: "other servers" } as const;
    expect(await steps.claim(stream, "c2", who)).toEqual({ valid: false, reason: "already_live" });
    expect(await steps.claim(stream, "c2", { ...who, server: "elsewhere" })).toMatchObject({ valid: true });
  });
});

describe("a session that is reported", () => {
  it("is not found for another server, another boot, or a made-up id", async () => {
    const { stream, sessionId } = await newLive();
    const before = await stateOf(stream);
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
    expect(await stateOf(stream)).toEqual(before);
  });

  it("is a conflict once it has ended", async () => {
    const { stream, sessionId } = await newLive({ reconnectWindowSeconds: 0 });
    await store.end(EDGE, sessionId, "ended");
    const before = await stateOf(stream);
    expect(await codeOf(store.start(EDGE, sessionId, LEASE_SECONDS))).toBe("conflict");
    expect(await codeOf(store.report(EDGE, sessionId, {}, LEASE_SECONDS))).toBe("conflict");
    expect(await codeOf(store.end(EDGE, sessionId, "again"))).toBe("conflict");
    expect(await stateOf(stream)).toEqual(before);
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
    await expectSession(stream, { state: "reserved" });
  });

  it("belongs to the next boot when the media server names a new boot", async () => {
    const { stream, sessionId } = await newLive();
    const again = idOf(await steps.claim(stream, "c1", { boot: "b2" }));
    expect(again).not.toBe(sessionId);
    expect(await steps.statusOf(stream)).toBe("reconnecting");
    expect(await codeOf(store.report(EDGE, sessionId, {}, LEASE_SECONDS))).toBe("not_found");
    await store.start({ server: "edge", boot: "b2" }, again, LEASE_SECONDS);
    await expectSession(stream, { state: "live", boot: "b2", connections: 2 });
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
