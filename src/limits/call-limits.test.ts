import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AppError } from "../errors.ts";
import { createCallLimits, type LimitedConnection } from "./call-limits.ts";

function connection(id: string) {
  return { id, disconnect: vi.fn() } satisfies LimitedConnection;
}

/** Takes `count` times, and returns the errors that were thrown. */
function takeMany(limits: ReturnType<typeof createCallLimits>, user: string, on: LimitedConnection, count: number) {
  const refusals: unknown[] = [];
  for (let i = 0; i < count; i++) {
    try {
      limits.take(user, on);
    } catch (error) {
      refusals.push(error);
    }
  }
  return refusals;
}

describe("the limit of calls", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["performance"] }));
  afterEach(() => void vi.useRealTimers());

  it("takes a burst of calls, and tells the next callers when to come back", () => {
    const limits = createCallLimits({ burst: 20, perSecond: 10 });
    const refused = takeMany(limits, "alice", connection("a"), 25);
    expect(refused).toHaveLength(5);
    for (const error of refused) {
      expect(error).toBeInstanceOf(AppError);
      expect(error).toMatchObject({ code: "rate_limited" });
      expect((error as AppError).retryAfterMs).toBeGreaterThan(0);
      expect((error as AppError).retryAfterMs).toBeLessThanOrEqual(100);
    }
  });

  it("takes calls again as time passes, but never more than a burst at once", () => {
    const limits = createCallLimits({ burst: 20, perSecond: 10 });
    takeMany(limits, "alice", connection("a"), 20);
    vi.advanceTimersByTime(1000);
    expect(takeMany(limits, "alice", connection("a"), 12)).toHaveLength(2);
    vi.advanceTimersByTime(3_600_000);
    expect(takeMany(limits, "alice", connection("a"), 25)).toHaveLength(5);
  });

  it("takes the call of a client that waited as long as it was told", () => {
    const limits = createCallLimits({ burst: 3, perSecond: 7 });
    for (let i = 0; i < 50; i++) {
      const [refusal] = takeMany(limits, "alice", connection("a"), 4);
      expect(refusal).toMatchObject({ code: "rate_limited" });
      vi.advanceTimersByTime((refusal as AppError).retryAfterMs ?? 0);
      expect(takeMany(limits, "alice", connection("a"), 1)).toEqual([]);
    }
  });

  it("counts all connections of a user together, and no other user's", () => {
    const limits = createCallLimits({ burst: 20, perSecond: 10 });
    expect(takeMany(limits, "alice", connection("a"), 15)).toHaveLength(0);
    expect(takeMany(limits, "alice", connection("b"), 15)).toHaveLength(10);
    expect(takeMany(limits, "bob", connection("c"), 20)).toHaveLength(0);
  });

  it("counts a call by its work, and takes one that costs more than a burst when nothing else was called", () => {
    const limits = createCallLimits({ burst: 20, perSecond: 10 });
    const call = (cost: number) => () => limits.take("alice", connection("a"), cost);
    call(15)();
    expect(call(10)).toThrow(expect.objectContaining({ code: "rate_limited", retryAfterMs: 450 }));
    call(5)();
    vi.advanceTimersByTime(2000);
    call(100)();
    expect(call(1)).toThrow(AppError);
  });

  it("ends a connection that ignores ten bursts of refusals, and no other connection of the user", () => {
    const limits = createCallLimits({ burst: 5, perSecond: 1 });
    const [deaf, other] = [connection("a"), connection("b")];
    takeMany(limits, "alice", deaf, 5 + 50);
    expect(deaf.disconnect).not.toHaveBeenCalled();
    takeMany(limits, "alice", deaf, 1);
    expect(deaf.disconnect).toHaveBeenCalledWith(true);
    takeMany(limits, "alice", other, 1);
    expect(other.disconnect).not.toHaveBeenCalled();
  });
});
