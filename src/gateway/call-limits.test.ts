import { describe, expect, it, vi } from "vitest";
import { AppError } from "../errors.ts";
import { createCallLimits, type LimitedConnection } from "./call-limits.ts";

function connection(id: string) {
  return { id, disconnect: vi.fn() } satisfies LimitedConnection;
}

async function takeMany(
  limits: ReturnType<typeof createCallLimits>,
  user: string,
  on: LimitedConnection,
  count: number,
) {
  const outcomes = await Promise.all(
    Array.from({ length: count }, () =>
      limits.take(user, on).then(
        () => null,
        (error: unknown) => error,
      ),
    ),
  );
  return outcomes.filter((outcome) => outcome !== null);
}

describe("a user's calls", () => {
  it("pass up to the burst, and past it are told when to come back", async () => {
    const limits = createCallLimits({ burst: 20, perSecond: 10 });
    const refused = await takeMany(limits, "alice", connection("a"), 25);
    expect(refused).toHaveLength(5);
    for (const error of refused) {
      expect(error).toBeInstanceOf(AppError);
      expect(error).toMatchObject({ code: "rate_limited" });
      expect((error as AppError).retryAfterMs).toBeGreaterThan(0);
      expect((error as AppError).retryAfterMs).toBeLessThanOrEqual(2000);
    }
  });

  it("count together over all connections, and against nobody else", async () => {
    const limits = createCallLimits({ burst: 20, perSecond: 10 });
    expect(await takeMany(limits, "alice", connection("a"), 15)).toHaveLength(0);
    expect(await takeMany(limits, "alice", connection("b"), 15)).toHaveLength(10);
    expect(await takeMany(limits, "bob", connection("c"), 20)).toHaveLength(0);
  });

  it("that go on ten bursts after the refusal end their connection, and only that", async () => {
    const limits = createCallLimits({ burst: 5, perSecond: 1 });
    const [deaf, other] = [connection("a"), connection("b")];
    await takeMany(limits, "alice", deaf, 5 + 50);
    expect(deaf.disconnect).not.toHaveBeenCalled();
    await takeMany(limits, "alice", deaf, 1);
    expect(deaf.disconnect).toHaveBeenCalledWith(true);
    await takeMany(limits, "alice", other, 1);
    expect(other.disconnect).not.toHaveBeenCalled();
  });
});
