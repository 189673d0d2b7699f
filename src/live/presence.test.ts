import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Topic } from "../protocol/dashboard.ts";
import type { PresenceReport } from "./bus.ts";
import { Presence } from "./presence.ts";

const LEASE_MS = 30_000;
const COURSE: Topic = { kind: "course", courseId: "c1" };
const HERE = { isLocal: true };

let gone: string[];
let presence: Presence;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  gone = [];
  presence = new Presence((report) => gone.push(`${report.userId} ${report.fileId}`));
  presence.start();
});
afterEach(() => {
  presence.stop();
  vi.useRealTimers();
});

function toReport(change: Partial<PresenceReport> = {}): PresenceReport {
  return {
    courseId: "c1",
    lessonId: "l1",
    fileId: "f1",
    userId: "alice",
    position: 10,
    state: "playing",
    rate: 1,
    ageMs: 0,
    leaseMs: LEASE_MS,
    ...change,
  };
}

describe("a viewer", () => {
  it("is there for its lease, and gone after it, at the last reported position", () => {
    presence.apply(toReport(), HERE);
    vi.advanceTimersByTime(LEASE_MS - 1000);
    expect(presence.viewersOf(COURSE, "c1")).toEqual([
      { userId: "alice", fileId: "f1", position: 10, state: "playing", rate: 1, ageMs: LEASE_MS - 1000 },
    ]);
    expect(gone).toEqual([]);
    vi.advanceTimersByTime(2000);
    expect(presence.viewersOf(COURSE, "c1")).toEqual([]);
    expect(presence.find(toReport())).toBeNull();
    expect(gone).toEqual(["alice f1"]);
  });

  it("stays as long as its reports come", () => {
    for (let i = 0; i < 10; i++) {
      presence.apply(toReport({ position: i }), HERE);
      vi.advanceTimersByTime(LEASE_MS - 1000);
    }
    expect(gone).toEqual([]);
    expect(presence.find(toReport())?.position).toBe(9);
  });

  it("that is paused stays with every keep-alive, though the network makes these look a little older", () => {
    // The first took 500 ms on its way, those after it 20.
    vi.advanceTimersByTime(500);
    presence.apply(toReport({ state: "paused" }), HERE);
    vi.advanceTimersByTime(-480 + 10_000);
    for (let i = 1; i <= 9; i++) {
      expect(presence.apply(toReport({ state: "paused", ageMs: i * 10_000 }), HERE)).toBe(true);
      vi.advanceTimersByTime(10_000);
    }
    expect(gone).toEqual([]);
    expect(presence.viewersOf(COURSE, "c1")).toMatchObject([{ position: 10, state: "paused" }]);
  });

  it("is not moved back by another device that saw it earlier", () => {
    presence.apply(toReport({ position: 50 }), HERE);
    vi.advanceTimersByTime(1000);
    expect(presence.apply(toReport({ position: 5, state: "paused", ageMs: 60_000 }), HERE)).toBe(false);
    expect(presence.find(toReport())).toMatchObject({ position: 50, ageMs: 1000 });
  });

  it("is where the device that is left says, once the other's lease is over", () => {
    presence.apply(toReport({ position: 50 }), HERE);
    vi.advanceTimersByTime(LEASE_MS);
    expect(presence.apply(toReport({ position: 5, state: "paused", ageMs: 90_000 }), HERE)).toBe(true);
    expect(presence.find(toReport())).toMatchObject({ position: 5, state: "paused" });
  });

  it("is counted in its own course, once a file", () => {
    presence.apply(toReport(), HERE);
    presence.apply(toReport({ fileId: "f2" }), HERE);
    presence.apply(toReport({ userId: "bob" }), HERE);
    presence.apply(toReport({ courseId: "c2", fileId: "f9" }), HERE);
    expect(presence.viewersOf(COURSE, "c1")).toHaveLength(3);
    expect(presence.viewersOf({ kind: "course", courseId: "c2" }, "c2")).toHaveLength(1);
    expect(presence.viewersOf({ kind: "course", courseId: "c3" }, "c3")).toEqual([]);
    expect(presence.viewersOf({ kind: "user", userId: "alice" }, null)).toHaveLength(3);
  });

  it("counts in every topic that shows it, as long as it is there", () => {
    presence.apply(toReport(), HERE);
    presence.apply(toReport({ fileId: "f2", lessonId: "l2" }), HERE);
    presence.apply(toReport({ userId: "bob" }), HERE);
    presence.apply(toReport({ courseId: "c2", fileId: "f9", lessonId: "l9" }), HERE);
    // The file moved to another lesson.
    presence.apply(toReport({ userId: "bob", lessonId: "l2", position: 11 }), HERE);
    const topics: [Topic, string | null, number][] = [
      [COURSE, "c1", 3],
      [{ kind: "lesson", lessonId: "l1" }, "c1", 1],
      [{ kind: "lesson", lessonId: "l2" }, "c1", 2],
      [{ kind: "file", fileId: "f1" }, "c1", 2],
      [{ kind: "file", fileId: "f2" }, "c1", 1],
      [{ kind: "learner", courseId: "c1", userId: "alice" }, "c1", 2],
      [{ kind: "user", userId: "alice" }, null, 3],
      [{ kind: "user", userId: "carol" }, null, 0],
    ];
    for (const [topic, courseId, count] of topics) {
      expect(presence.count(topic, courseId)).toBe(count);
      expect(presence.viewersOf(topic, courseId)).toHaveLength(count);
    }
    vi.advanceTimersByTime(LEASE_MS - 1000);
    presence.apply(toReport({ position: 12 }), HERE);
    vi.advanceTimersByTime(2000);
    expect(gone.sort()).toEqual(["alice f2", "alice f9", "bob f1"]);
    for (const [topic, courseId] of topics) {
      expect(presence.count(topic, courseId)).toBe(presence.viewersOf(topic, courseId).length);
    }
    expect(presence.count(COURSE, "c1")).toBe(1);
  });
});
