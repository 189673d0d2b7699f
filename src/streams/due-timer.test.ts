import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLogger } from "../logger.ts";
import { DueTimer, type DueTimerParts } from "./due-timer.ts";

const logger = createLogger({ level: "silent" });
let timer: DueTimer;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  timer.stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

/** A timer for work that is due at `dueAt`, by the fake clock. */
function create(parts: Partial<DueTimerParts> & { dueAt?: number | null } = {}) {
  const state = { dueAt: parts.dueAt ?? null, runs: [] as number[], looks: 0 };
  timer = new DueTimer({
    what: "the time of the test",
    findNextDueMs: async () => {
      state.looks += 1;
      return state.dueAt === null ? null : state.dueAt - Date.now();
    },
    run: async () => {
      state.runs.push(Date.now());
      state.dueAt = null;
    },
    logger,
    ...parts,
  });
  return state;
}

describe("a due timer", () => {
  it("runs its work at the very moment, and asks nobody in between", async () => {
    const state = create({ dueAt: Date.now() + 3_600_000 });
    timer.arm();
    await vi.advanceTimersByTimeAsync(3_599_999);
    expect(state.runs).toEqual([]);
    const looks = state.looks;
    await vi.advanceTimersByTimeAsync(1);
    expect(state.runs).toHaveLength(1);
    expect(looks).toBe(1);
  });

  it("does nothing, and asks only once, while nothing is due", async () => {
    const state = create();
    timer.arm();
    await vi.advanceTimersByTimeAsync(24 * 3600 * 1000);
    expect(state).toMatchObject({ runs: [], looks: 1 });
  });

  it("waits for work that is months ahead, longer than a timer of Node can", async () => {
    const state = create({ dueAt: Date.now() + 60 * 24 * 3600 * 1000 });
    timer.arm();
    await vi.advanceTimersByTimeAsync(59 * 24 * 3600 * 1000);
    expect(state.runs).toEqual([]);
    await vi.advanceTimersByTimeAsync(24 * 3600 * 1000);
    expect(state.runs).toHaveLength(1);
  });

  it("runs earlier when it is told that work is due earlier", async () => {
    const state = create({ dueAt: Date.now() + 60_000 });
    timer.arm();
    await vi.advanceTimersByTimeAsync(10);
    state.dueAt = Date.now() + 5;
    timer.arm();
    await vi.advanceTimersByTimeAsync(10);
    expect(state.runs).toHaveLength(1);
  });

  it("asks nobody when it is told of work that is due later than its next look", async () => {
    const state = create({ lookAgainMs: 5000 });
    timer.arm();
    await vi.advanceTimersByTimeAsync(1);
    for (let i = 0; i < 100; i++) timer.arm(10_000);
    await vi.advanceTimersByTimeAsync(4000);
    expect(state.looks).toBe(1);
    timer.arm(500);
    await vi.advanceTimersByTimeAsync(499);
    expect(state.looks).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(state.looks).toBe(2);
  });

  it("looks again once when it was armed, once or more often, during a look", async () => {
    let answer: (ms: number | null) => void = () => undefined;
    const findNextDueMs = vi.fn(() => new Promise<number | null>((resolve) => (answer = resolve)));
    create({ findNextDueMs });
    timer.arm();
    await vi.advanceTimersByTimeAsync(0);
    for (let i = 0; i < 10; i++) timer.arm();
    answer(null);
    await vi.advanceTimersByTimeAsync(0);
    expect(findNextDueMs).toHaveBeenCalledTimes(2);
    answer(null);
    await vi.advanceTimersByTimeAsync(1000);
    expect(findNextDueMs).toHaveBeenCalledTimes(2);
  });

  it("looks again after `lookAgainMs`, because others may write without a word", async () => {
    const state = create({ lookAgainMs: 5000 });
    timer.arm();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(state.looks).toBe(5);
  });

  it("tries again a second after a failure, and not at once, although the failure armed it", async () => {
    const findNextDueMs = vi.fn(async (): Promise<number | null> => {
      throw new Error("the database is away");
    });
    const failures: number[] = [];
    create({
      findNextDueMs,
      onFailure() {
        failures.push(Date.now());
        timer.arm();
      },
    });
    timer.arm();
    await vi.advanceTimersByTimeAsync(10_500);
    expect(findNextDueMs).toHaveBeenCalledTimes(11);
    expect(failures).toHaveLength(11);
  });

  it("pauses between two attempts at work that stays due", async () => {
    const run = vi.fn(async () => undefined);
    create({ findNextDueMs: async () => -1, run });
    timer.arm();
    await vi.advanceTimersByTimeAsync(1000);
    expect(run.mock.calls.length).toBeGreaterThan(1);
    expect(run.mock.calls.length).toBeLessThan(50);
  });

  it("does nothing after it was stopped, even in the middle of a look", async () => {
    let answer: (ms: number | null) => void = () => undefined;
    const findNextDueMs = vi.fn(() => new Promise<number | null>((resolve) => (answer = resolve)));
    create({ findNextDueMs });
    timer.arm();
    await vi.advanceTimersByTimeAsync(0);
    timer.stop();
    answer(5);
    timer.arm();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(findNextDueMs).toHaveBeenCalledTimes(1);
  });
});
