import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Topic } from "../../protocol/dashboard.ts";
import type { PresenceReport } from "../bus/bus.ts";
import { Presence } from "./presence.ts";

const LEASE_MS = 30_000;
const COURSE: Topic = { kind: "course", courseId: "c1" };
const SWEEP_MS = 1000;

let gone: string[];
let presence: Presence;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
  gone = [];
  presence = new Presence();
  setInterval(() => {
    for (const { userId, fileId } of presence.takeExpired()) gone.push(`${userId} ${fileId}`);
  }, SWEEP_MS);
});
afterEach(() => {
  vi.useRealTimers();
});

/** A report of a player that is connected to this process. @returns whether it was taken */
function renew(change: Partial<PresenceReport> = {}): boolean {
  return presence.renew(toReport(change), true) !== null;
}

/** What dashboards see of alice at f1. */
function findAlice() {
  return presence.viewersOf({ kind: "file", fileId: "f1" }, "c1").find(({ userId }) => userId === "alice") ?? null;
}

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
  it("is there until its lease ends, at the position that it last reported", () => {
    renew();
    vi.advanceTimersByTime(LEASE_MS - 1000);
    expect(presence.viewersOf(COURSE, "c1")).toEqual([
      { userId: "alice", fileId: "f1", position: 10, state: "playing", rate: 1, ageMs: LEASE_MS - 1000 },
    ]);
    expect(gone).toEqual([]);
    vi.advanceTimersByTime(2000);
    expect(presence.viewersOf(COURSE, "c1")).toEqual([]);
    expect(findAlice()).toBeNull();
    expect(gone).toEqual(["alice f1"]);
  });

  it("stays as long as its reports come", () => {
    for (let i = 0; i < 10; i++) {
      renew({ position: i });
      vi.advanceTimersByTime(LEASE_MS - 1000);
    }
    expect(gone).toEqual([]);
    expect(findAlice()?.position).toBe(9);
  });

  it("that is paused stays with every report, though the network makes the reports look a little older", () => {
    // The first report took 500 ms on its way, the others 20 ms.
    vi.advanceTimersByTime(500);
    renew({ state: "paused" });
    vi.advanceTimersByTime(-480 + 10_000);
    for (let i = 1; i <= 9; i++) {
      expect(renew({ state: "paused", ageMs: i * 10_000 })).toBe(true);
      vi.advanceTimersByTime(10_000);
    }
    expect(gone).toEqual([]);
    expect(presence.viewersOf(COURSE, "c1")).toMatchObject([{ position: 10, state: "paused" }]);
  });

  it("that stalls stays with every report, and is shown with rate 0", () => {
    renew({ state: "playing", rate: 1 });
    for (let i = 1; i <= 9; i++) {
      vi.advanceTimersByTime(10_000);
      expect(renew({ state: "playing", rate: 0, ageMs: i * 10_000 + 20 })).toBe(true);
    }
    expect(gone).toEqual([]);
    expect(presence.viewersOf(COURSE, "c1")).toMatchObject([{ position: 10, state: "playing", rate: 0 }]);
  });

  it("is not moved back by another device's older report", () => {
    renew({ position: 50 });
    vi.advanceTimersByTime(1000);
    expect(renew({ position: 5, state: "paused", ageMs: 60_000 })).toBe(false);
    expect(findAlice()).toMatchObject({ position: 50, ageMs: 1000 });
  });

  it("is where the other device says when the lease of the newer one has ended", () => {
    renew({ position: 50 });
    vi.advanceTimersByTime(LEASE_MS);
    expect(renew({ position: 5, state: "paused", ageMs: 90_000 })).toBe(true);
    expect(findAlice()).toMatchObject({ position: 5, state: "paused" });
  });

  it("is counted in its own course, once for each file", () => {
    renew();
    renew({ fileId: "f2" });
    renew({ userId: "bob" });
    renew({ courseId: "c2", fileId: "f9" });
    expect(presence.viewersOf(COURSE, "c1")).toHaveLength(3);
    expect(presence.viewersOf({ kind: "course", courseId: "c2" }, "c2")).toHaveLength(1);
    expect(presence.viewersOf({ kind: "course", courseId: "c3" }, "c3")).toEqual([]);
    expect(presence.viewersOf({ kind: "user", userId: "alice" }, null)).toHaveLength(3);
  });

  it("is counted in every topic that shows it, as long as it is there", () => {
    renew();
    renew({ fileId: "f2", lessonId: "l2" });
    renew({ userId: "bob" });
    renew({ courseId: "c2", fileId: "f9", lessonId: "l9" });
    // The file moved to another lesson.
    renew({ userId: "bob", lessonId: "l2", position: 11 });
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
    renew({ position: 12 });
    vi.advanceTimersByTime(2000);
    expect(gone.sort()).toEqual(["alice f2", "alice f9", "bob f1"]);
    for (const [topic, courseId] of topics) {
      expect(presence.count(topic, courseId)).toBe(presence.viewersOf(topic, courseId).length);
    }
    expect(presence.count(COURSE, "c1")).toBe(1);
  });

  it("is reported to another process only by the process that its player is connected to", () => {
    renew({ position: 3 });
    presence.renew(toReport({ userId: "bob" }), false);
    vi.advanceTimersByTime(1000);
    const expected = [{ ...toReport({ position: 3 }), ageMs: 1000, leaseMs: LEASE_MS - 1000 }];
    expect(presence.localReports("course", "c1")).toEqual(expected);
    expect(presence.localReports("user", "alice")).toEqual(expected);
    expect(presence.localReports("user", "bob")).toEqual([]);
    expect(presence.localReports("course", "c2")).toEqual([]);
  });
});
