import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLogger } from "../../logger.ts";
import type { Stream, Verdict } from "../../protocol/stream.ts";
import { isAway } from "../answer-deadline.ts";
import type { KnownKey } from "../keys/key-cache.ts";
import type { SessionDrop } from "../sessions/session-drop.ts";
import type { Claim, ClaimResult } from "./claim.ts";
import { Outage, type OutageParts } from "./outage.ts";

/*
 * Decisions while the database is away, and how they are written when it is back. The store here only remembers its
 * calls, or fails as a database does.
 */

const STREAM: Stream = {
  id: "s1",
  userId: "ines",
  title: "Talk",
  status: "ready",
  keyPrefix: "phk_abcdef",
  bitrateKbps: null,
  viewers: null,
  expiresAt: null,
  startedAt: null,
  endedAt: null,
  version: 1,
};
const KNOWN: KnownKey = { stream: STREAM, policy: "first_wins", goodUntil: null };
const RETRY_MS = 1000;

const away = () => Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
const tooLong = () => Object.assign(new Error("canceling statement"), { code: "57014" });
const poison = () => Object.assign(new Error("invalid byte sequence"), { code: "22021" });

let outage: Outage;
let asked: string[];
let drops: SessionDrop[];
/** What the store answers, by call and session or connection. */
let answers: Map<string, () => Promise<ClaimResult> | never>;
let lastSession = 0;

function answer(call: string, who: string): unknown {
  asked.push(`${call} ${who}`);
  return answers.get(`${call} ${who}`)?.() ?? answers.get(call)?.();
}

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  drops = [];
  answers = new Map();
  const writeClaim: OutageParts["claim"] = async ({ sessionId, starts }) => {
    const how = `${sessionId}${starts ? ", started" : ""}`;
    const answered = await (answer("claim", how) as Promise<ClaimResult> | undefined);
    return answered ?? { valid: true, sessionId, stream: STREAM, lifetimeMs: 0, ousted: null };
  };
  const store: OutageParts["store"] = {
    start: async (_owner, sessionId) => {
      await answer("start", sessionId);
      return STREAM;
    },
    reportConnection: async (at, figures) => {
      await answer("report", `${at.connection} ${figures.peakViewers ?? "-"}`);
      return null;
    },
    endConnection: async (at, reason) => {
      await answer("end", `${at.connection} ${reason}`);
    },
  };
  outage = new Outage({
    claim: writeClaim,
    store,
    logger: createLogger({ level: "silent" }),
    onDrop: (drop) => drops.push(drop),
  });
});
afterEach(async () => {
  await outage.stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

function claim(connection: string, given: Partial<Claim> = {}): Claim {
  lastSession += 1;
  return {
    sessionId: `session-${lastSession}`,
    streamId: "s1",
    keyHash: Buffer.alloc(32),
    server: "edge",
    boot: "b1",
    connection,
    app: null,
    clientIp: null,
    protocol: null,
    leaseSeconds: 30,
    starts: false,
    mayOust: "any",
    ...given,
  };
}

function idOf(verdict: Verdict): string {
  if (!verdict.valid) throw new Error(`refused: ${verdict.reason}`);
  return verdict.sessionId;
}

const admit = (connection: string, given: Partial<Claim> = {}, known: Partial<KnownKey> = {}) =>
  outage.admit({ ...KNOWN, ...known }, claim(connection, given));
const key = (stream: Partial<Stream>): Partial<KnownKey> => ({ stream: { ...STREAM, ...stream } });
const inOneHour = () => new Date(Date.now() + 3_600_000).toISOString();
const ALREADY_LIVE = { valid: false, reason: "already_live" };

describe("a cached key", () => {
  it("is admitted", () => {
    expect(admit("c1")).toMatchObject({ valid: true, stream: { status: "ready" }, lifetimeMs: 0 });
    expect(admit("c2", { streamId: "s2", starts: true }, key({ id: "s2" }))).toMatchObject({
      stream: { status: "live" },
    });
  });

  it("is admitted for the lifetime that it has left", () => {
    expect(admit("c1", {}, key({ expiresAt: inOneHour() }))).toMatchObject({ lifetimeMs: 3_600_000 });
  });

  it.each<[string, Partial<KnownKey>, string]>([
    ["revoked", key({ status: "revoked" }), "revoked"],
    ["disabled", key({ status: "disabled" }), "disabled"],
    ["expired", key({ status: "expired" }), "expired"],
    ["past its expiry", key({ expiresAt: "2020-01-01T00:00:00Z" }), "expired"],
    ["past its grace", { goodUntil: new Date(0) }, "unknown"],
  ])("is refused when it was %s", (_, known, reason) => {
    expect(admit("c1", {}, known)).toEqual({ valid: false, reason });
  });

  it("is refused from the very moment it expires", () => {
    expect(admit("c1", {}, key({ expiresAt: new Date(Date.now()).toISOString() }))).toEqual({
      valid: false,
      reason: "expired",
    });
  });

  it("is refused to a second encoder while the first one is heard of", () => {
    outage.holds("s1", claim("c1"));
    expect(admit("c2")).toEqual(ALREADY_LIVE);
    vi.advanceTimersByTime(29_000);
    outage.heardOf({ server: "edge", connection: "c1" });
    outage.heardOf({ server: "edge", connection: "c2" });
    vi.advanceTimersByTime(29_000);
    expect(admit("c2")).toEqual(ALREADY_LIVE);
    vi.advanceTimersByTime(2000);
    expect(admit("c2")).toMatchObject({ valid: true });
  });

  it("is refused to a second encoder while a provisional session reports", () => {
    const sessionId = idOf(admit("c1"));
    outage.start(sessionId);
    for (let i = 0; i < 5; i++) {
      vi.advanceTimersByTime(20_000);
      outage.report(sessionId, {});
    }
    expect(admit("c2")).toEqual(ALREADY_LIVE);
  });

  it("is free again when the first encoder is gone, but not at the end of a stranger", () => {
    outage.holds("s1", { ...claim("c1"), sessionId: "held" });
    outage.letGo({ server: "edge", connection: "c2" });
    outage.letGo({ sessionId: "another" });
    expect(admit("c2")).toEqual(ALREADY_LIVE);
    outage.letGo({ sessionId: "held" });
    expect(admit("c2")).toMatchObject({ valid: true });
  });

  it("gives a connection that asks again the same session", () => {
    const sessionId = idOf(admit("c1"));
    expect(idOf(admit("c1"))).toBe(sessionId);
    expect(outage.again("s1", claim("c1"))).toMatchObject({ sessionId });
    expect(outage.again("s1", claim("c1", { boot: "b2" }))).toBeNull();
    expect(outage.again("s2", claim("c1"))).toBeNull();
  });

  it("may be taken over under the policy, if the first encoder can be dropped", () => {
    admit("c1");
    expect(admit("c2", { mayOust: "other servers" }, { policy: "takeover" })).toEqual(ALREADY_LIVE);
    expect(admit("c2", {}, { policy: "takeover" })).toMatchObject({ valid: true });
  });
});

describe("a provisional session", () => {
  it("belongs to its media server and boot alone", () => {
    const sessionId = idOf(admit("c1"));
    expect(outage.find({ server: "edge", boot: "b1" }, sessionId)).toMatchObject({ id: "s1" });
    expect(outage.find({ server: "other", boot: "b1" }, sessionId)).toBeNull();
    expect(outage.find({ server: "edge", boot: "b2" }, sessionId)).toBeNull();
    expect(outage.find({ server: "edge", boot: "b1" }, "made-up")).toBeNull();
    expect(outage.findByConnection("edge", "c1")).toBe(sessionId);
    expect(outage.findByConnection("other", "c1")).toBeNull();
  });

  it("is found by connection as the newest one when a connection id comes twice", () => {
    admit("1", { boot: null });
    const second = idOf(admit("1", { boot: null }));
    expect(outage.findByConnection("edge", "1")).toBe(second);
  });

  it("goes from ready to live to reconnecting, and is forgotten when it ends before it has started", async () => {
    const sessionId = idOf(admit("c1"));
    expect(outage.start(sessionId).status).toBe("live");
    expect(outage.end(sessionId, "ended").status).toBe("reconnecting");
    expect(outage.find({ server: "edge", boot: "b1" }, sessionId)).toBeNull();
    const brief = idOf(admit("c2"));
    outage.end(brief, "ended");
    await outage.reconcile();
    expect(asked.join()).not.toContain(brief);
  });
});

describe("once the database is back, an outage", () => {
  it("is written: ends first, then sessions in the order of their admission", async () => {
    const first = idOf(admit("c1", { starts: true }));
    await vi.advanceTimersByTimeAsync(10);
    const second = idOf(admit("c2", { streamId: "s2" }, key({ id: "s2" })));
    outage.start(second);
    outage.report(second, { viewers: 40 });
    outage.report(second, { viewers: 4 });
    outage.keepEnd({ server: "edge", connection: "c0", keyHash: null }, "gone");
    outage.end(first, "over");
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(asked).toEqual([
      "end c0 gone",
      `claim ${first}, started`,
      "end c1 over",
      `claim ${second}, started`,
      "report c2 40",
    ]);
    await vi.advanceTimersByTimeAsync(10 * RETRY_MS);
    expect(asked).toHaveLength(5);
    expect(outage.find({ server: "edge", boot: "b1" }, second)).toBeNull();
  });

  it("is tried every second until then, however often encoders come meanwhile", async () => {
    answers.set("claim", () => {
      throw away();
    });
    for (let i = 0; i < 50; i++) {
      admit(`c${i}`, { streamId: `s${i}` }, key({ id: `s${i}` }));
      await vi.advanceTimersByTimeAsync(100);
    }
    // In 5 s; each attempt ends at the first session, which finds the connection gone.
    expect(asked.length).toBeGreaterThanOrEqual(4);
    expect(asked.length).toBeLessThanOrEqual(5);
    answers.clear();
    asked = [];
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(asked).toHaveLength(50);
  });

  it("writes claims although nobody waits for their answers any more", async () => {
    const signals: unknown[] = [];
    const other = new Outage({
      claim: async (claimed) => signals.push(claimed.signal) as never,
      store: {} as never,
      logger: createLogger({ level: "silent" }),
      onDrop: () => undefined,
    });
    other.admit(KNOWN, claim("c1", { signal: AbortSignal.abort() }));
    await other.reconcile();
    await other.stop();
    expect(signals).toEqual([undefined]);
  });

  it("drops a session that was not the first, but only if it still publishes", async () => {
    answers.set("claim", async () => ({ valid: false, reason: "already_live" }));
    const lost = idOf(admit("c1", { starts: true }));
    const gone = idOf(admit("c2", { starts: true, streamId: "s2" }, key({ id: "s2" })));
    outage.end(gone, "ended");
    await outage.reconcile();
    expect(drops).toEqual([{ server: "edge", boot: "b1", connection: "c1", sessionId: lost, reason: "already_live" }]);
  });

  it("drops a session as revoked whose key belongs to no stream any more", async () => {
    answers.set("claim", async () => ({ valid: false, reason: "unknown" }));
    admit("c1");
    await outage.reconcile();
    expect(drops).toMatchObject([{ reason: "revoked" }]);
  });

  it("writes the other sessions although one cannot be written", async () => {
    const [bad, slow, good] = ["s1", "s2", "s3"].map((id) => idOf(admit(`c-${id}`, { streamId: id }, key({ id }))));
    answers.set(`claim ${bad}`, () => {
      throw poison();
    });
    answers.set(`claim ${slow}`, () => {
      throw tooLong();
    });
    answers.set("end x poisoned", () => {
      throw poison();
    });
    outage.keepEnd({ server: "edge", connection: "x", keyHash: null }, "poisoned");
    await outage.reconcile();
    expect(asked).toEqual(["end x poisoned", `claim ${bad}`, `claim ${slow}`, `claim ${good}`]);
    asked = [];
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(asked).toEqual([`claim ${slow}`]);
  });

  it("writes also what a media server reports during the write", async () => {
    const sessionId = idOf(admit("c1"));
    answers.set(`claim ${sessionId}`, async () => {
      outage.start(sessionId);
      return { valid: true, sessionId, stream: STREAM, lifetimeMs: 0, ousted: null };
    });
    answers.set(`start ${sessionId}`, () => outage.report(sessionId, { viewers: 3 }) as never);
    answers.set("report c1 3", () => outage.end(sessionId, "over") as never);
    await outage.reconcile();
    expect(asked).toEqual([`claim ${sessionId}`, `start ${sessionId}`, "report c1 3", "end c1 over"]);
  });

  it("writes nothing more once it is stopped, and the stop waits for the write that is under way", async () => {
    const first = idOf(admit("c1"));
    admit("c2", { streamId: "s2" }, key({ id: "s2" }));
    let finish = () => {};
    answers.set(`claim ${first}`, async () => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return { valid: true, sessionId: first, stream: STREAM, lifetimeMs: 0, ousted: null };
    });
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    let isStopped = false;
    const stopped = outage.stop().then(() => {
      isStopped = true;
    });
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(isStopped).toBe(false);
    finish();
    await stopped;
    await outage.reconcile();
    expect(asked).toEqual([`claim ${first}`]);
  });

  it("writes a session that is admitted during the write next", async () => {
    const first = idOf(admit("c1"));
    let second = "";
    let finish = () => {};
    answers.set(`claim ${first}`, async () => {
      second = idOf(admit("c2", { streamId: "s2" }, key({ id: "s2" })));
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return { valid: true, sessionId: first, stream: STREAM, lifetimeMs: 0, ousted: null };
    });
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    // The timer comes round while the first write is still under way.
    await vi.advanceTimersByTimeAsync(5 * RETRY_MS);
    expect(asked).toEqual([`claim ${first}`]);
    finish();
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(asked).toEqual([`claim ${first}`, `claim ${second}`]);
  });
});

describe("what waits of a stream", () => {
  const HASH = Buffer.alloc(32).toString("hex");

  it("is written before the next claim, and not what waits of others; two claims share the writing", async () => {
    const first = idOf(admit("c1", { starts: true }));
    outage.end(first, "over");
    admit("c2", { streamId: "s2" }, key({ id: "s2" }));
    outage.keepEnd({ server: "edge", connection: "c0", keyHash: Buffer.alloc(32) }, "gone");
    outage.keepEnd({ server: "edge", connection: "c3", keyHash: Buffer.alloc(32, 1) }, "gone");
    await Promise.all([outage.settle("s1", HASH), outage.settle("s1", HASH)]);
    expect(asked).toEqual(["end c0 gone", `claim ${first}, started`, "end c1 over"]);
    expect(outage.settle("s1", HASH)).toBeNull();
  });

  it.each([away, tooLong])("fails the claim while it cannot be written", async (error) => {
    answers.set("claim", () => {
      throw error();
    });
    const sessionId = idOf(admit("c1", { starts: true }));
    outage.end(sessionId, "over");
    await expect(outage.settle("s1", HASH)).rejects.toSatisfy(isAway);
    answers.clear();
    await outage.settle("s1", HASH);
    expect(asked.slice(1)).toEqual([`claim ${sessionId}, started`, "end c1 over"]);
  });

  it("is also the end of a session that never started, since the database may hold its reservation", async () => {
    outage.end(idOf(admit("c1")), "over");
    await outage.settle("s1", HASH);
    expect(asked).toEqual(["end c1 over"]);
  });
});

it("refuses to admit more sessions than it holds", () => {
  for (let i = 0; i < 10_000; i++) admit(`c${i}`, { streamId: `s${i}` }, key({ id: `s${i}` }));
  expect(() => admit("one-more", { streamId: "more" }, key({ id: "more" }))).toThrow(
    expect.objectContaining({ code: "unavailable" }),
  );
});
