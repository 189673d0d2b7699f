import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { PresenceDemand } from "./presence-demand.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

it("wants viewers as often as they were asked for here, and of nobody else", () => {
  const demand = new PresenceDemand();
  expect(demand.want("course:c1")).toBe(true);
  expect(demand.want("course:c1")).toBe(false);
  expect(demand.isWanted("course", "c1")).toBe(true);
  expect(demand.isWanted("course", "c2")).toBe(false);
  expect(demand.isWanted("user", "c1")).toBe(false);
  expect(demand.ofHere()).toEqual(["course:c1"]);
  demand.wantNoMore("course:c1");
  expect(demand.isWanted("course", "c1")).toBe(true);
  demand.wantNoMore("course:c1");
  expect(demand.isWanted("course", "c1")).toBe(false);
  expect(demand.want("course:c1")).toBe(true);
});

it("wants viewers for others as long as they say so, whatever ends here", () => {
  const demand = new PresenceDemand();
  // An id may hold what parts kind and id.
  demand.othersWant("user:a:b", performance.now() + 1000);
  demand.want("user:a:b");
  demand.wantNoMore("user:a:b");
  expect(demand.isWanted("user", "a:b")).toBe(true);
  expect(demand.isWantedByOthers("user:a:b")).toBe(true);
  expect(demand.ofOthers()).toEqual(["user:a:b"]);
  vi.advanceTimersByTime(1001);
  expect(demand.isWanted("user", "a:b")).toBe(false);
  demand.forgetExpired();
  expect(demand.ofOthers()).toEqual([]);
});
