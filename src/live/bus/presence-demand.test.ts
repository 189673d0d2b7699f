import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { PresenceDemand } from "./presence-demand.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

it("wants a channel's viewers here until each room that asked for them has released them", () => {
  const demand = new PresenceDemand();
  expect(demand.want("course:c1")).toBe(true);
  expect(demand.want("course:c1")).toBe(false);
  expect(demand.ofHere()).toEqual(["course:c1"]);
  demand.release("course:c1");
  expect(demand.ofHere()).toEqual(["course:c1"]);
  demand.release("course:c1");
  expect(demand.ofHere()).toEqual([]);
  demand.release("course:c1");
  expect(demand.want("course:c1")).toBe(true);
});

it("wants viewers for other processes until their lease ends, whatever is released here", () => {
  const demand = new PresenceDemand();
  // An id may hold the colon that parts kind and id.
  demand.othersWant("user:a:b", performance.now() + 1000);
  demand.want("user:a:b");
  demand.release("user:a:b");
  expect(demand.isWantedByOthers("user", "a:b")).toBe(true);
  expect(demand.isWantedByOthers("course", "a:b")).toBe(false);
  expect(demand.isWantedByOthers("user", "a")).toBe(false);
  expect(demand.ofOthers()).toEqual(["user:a:b"]);
  vi.advanceTimersByTime(1001);
  expect(demand.isWantedByOthers("user", "a:b")).toBe(false);
  demand.forgetExpired();
  expect(demand.ofOthers()).toEqual([]);
});
