import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createLogger } from "../../logger.ts";
import { SessionSweeper } from "./session-sweeper.ts";

const LEASE_SECONDS = 30;
let due: Map<string, number>;
let swept: string[];
let failing: Map<string, Error>;
let failure: Error | null;
let sweeper: SessionSweeper;
/** By how much somebody has set the database's clock. */
let setByMs: number;
let shortened: number;

beforeEach(() => {
  vi.useFakeTimers();
  due = new Map();
  swept = [];
  failing = new Map();
  failure = null;
  setByMs = 0;
  shortened = 0;
  const databaseNow = () => Date.now() + setByMs;
  const deadlines = {
    findNextDueMs: async () => (due.size === 0 ? null : Math.min(...due.values()) - databaseNow()),
    findDue: async () => [...due].filter(([, at]) => at <= databaseNow()).map(([id]) => id),
    readClock: async () => {
      if (failure !== null) throw failure;
      return databaseNow();
    },
    shorten: async () => {
      shortened += 1;
    },
    sweep: async (id: string) => {
      const error = failing.get(id);
      if (error !== undefined) throw error;
      swept.push(id);
      due.delete(id);
    },
  };
  sweeper = new SessionSweeper(
    { deadlines, logger: createLogger({ level: "silent" }) },
    { leaseSeconds: LEASE_SECONDS },
  );
});
afterEach(() => {
  sweeper.stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

it("sweeps at the very moment, and sessions of other processes within five seconds", async () => {
  due.set("a", Date.now() + 1000);
  sweeper.arm();
  await vi.advanceTimersByTimeAsync(1000);
  expect(swept).toEqual(["a"]);
  due.set("b", Date.now() + 100);
  await vi.advanceTimersByTimeAsync(5000);
  expect(swept).toEqual(["a", "b"]);
});

it("sweeps nothing for a full lease after it was held", async () => {
  due.set("a", Date.now());
  sweeper.hold();
  await vi.advanceTimersByTimeAsync(LEASE_SECONDS * 1000 - 1);
  expect(swept).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(swept).toEqual(["a"]);
});

it("sweeps nothing for a full lease after the database was away", async () => {
  failure = new Error("the database is away");
  sweeper.arm();
  await vi.advanceTimersByTimeAsync(60_000);
  due.set("a", Date.now());
  failure = null;
  await vi.advanceTimersByTimeAsync(LEASE_SECONDS * 1000 - 1000);
  expect(swept).toEqual([]);
  await vi.advanceTimersByTimeAsync(2000);
  expect(swept).toEqual(["a"]);
});

it("sweeps nothing for a full lease after the database's clock was set forward", async () => {
  sweeper.arm();
  await vi.advanceTimersByTimeAsync(1000);
  due.set("a", Date.now() + 60_000);
  setByMs = 3_600_000;
  await vi.advanceTimersByTimeAsync(5000 + LEASE_SECONDS * 1000 - 2000);
  expect(swept).toEqual([]);
  await vi.advanceTimersByTimeAsync(3000);
  expect(swept).toEqual(["a"]);
  expect(shortened).toBe(0);
});

it("shortens all deadlines once after the database's clock was set back", async () => {
  sweeper.arm();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(shortened).toBe(0);
  setByMs = -3_600_000;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(shortened).toBe(1);
});

it("sweeps the other streams when one is locked, and that one later", async () => {
  for (const id of ["a", "b", "c"]) due.set(id, Date.now());
  failing.set("a", Object.assign(new Error("canceling statement due to statement timeout"), { code: "57014" }));
  sweeper.arm();
  await vi.advanceTimersByTimeAsync(0);
  expect(swept).toEqual(["b", "c"]);
  failing.clear();
  await vi.advanceTimersByTimeAsync(100);
  expect(swept).toEqual(["b", "c", "a"]);
});

it("stops at the first stream when the database is away", async () => {
  for (const id of ["a", "b"]) due.set(id, Date.now());
  failing.set("a", Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" }));
  sweeper.arm();
  await vi.advanceTimersByTimeAsync(1500);
  expect(swept).toEqual([]);
});
