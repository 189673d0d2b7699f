import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createFakeClock } from "../../test/helpers/fake-clock.ts";
import type { Update } from "../protocol/dashboard.ts";
import type { CourseProgressRow } from "../protocol/progress.ts";
import type { Stream } from "../protocol/stream.ts";
import { createTopicState, extrapolatePosition } from "./topic-state.ts";

function row(userId: string, version: number): CourseProgressRow {
  const sums = { totalFiles: 3, completedFiles: 0, totalDuration: 72, watchedDuration: version, percentage: version };
  return { userId, courseId: "c", ...sums, lastWatched: null, lastUpdated: null, version };
}

/** What a clock that somebody sets forth and back says: it never tells which frame is newer. */
const clockOf = (n: number) => new Date(n % 2 === 0 ? 3_600_000 : n * 1000).toISOString();

function frame(n: number, more: Partial<Update>): Update {
  return { topic: "course:c", n, at: clockOf(n), ...more };
}

function stream(id: string, version: number, status: Stream["status"] = "ready"): Stream {
  const figures = { bitrateKbps: null, viewers: null, expiresAt: null, startedAt: null, endedAt: null };
  return { id, userId: "a", title: "Morning show", status, keyPrefix: "ph_live_ab", ...figures, version };
}

const here = { userId: "a", fileId: "f", position: 10, state: "playing" as const, rate: 2, ageMs: 500 };

describe("a topic's state", () => {
  it("is the same after every order and repetition of its frames", () => {
    const versions = fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(versions, fc.array(fc.nat(19), { maxLength: 30 }), fc.nat(40), (order, repeats, removedAt) => {
        const clock = createFakeClock();
        const state = createTopicState("course:c", clock);
        state.replace(frame(0, {}));
        const removal = frame(1, { removed: [{ kind: "course", userId: "a", courseId: "c", version: removedAt }] });
        const frames = [...order.map((version) => frame(1, { courses: [row("a", version)] })), removal];
        for (const one of [...frames, ...repeats.flatMap((index) => frames[index] ?? [])]) state.apply(one);
        const newest = Math.max(...order);
        expect(state.view().courses.map(({ version }) => version)).toEqual(newest > removedAt ? [newest] : []);
      }),
    );
  });

  it("keeps the rows of different keys apart, also where an id looks like a key", () => {
    const state = createTopicState("course:c", createFakeClock());
    state.replace(frame(0, { courses: [row("a", 2), row("a:c", 1)] }));
    state.apply(frame(1, { courses: [row("a", 3)] }));
    expect(state.view().courses.map(({ userId, version }) => [userId, version])).toEqual([
      ["a", 3],
      ["a:c", 1],
    ]);
  });

  it("knows nothing from frames that were made before its snapshot", () => {
    const state = createTopicState("course:c", createFakeClock());
    state.replace(frame(5, { courses: [row("b", 2)] }));
    state.apply(frame(4, { courses: [row("a", 9)], viewers: 3 }));
    expect(state.view()).toMatchObject({ courses: [{ userId: "b" }], viewers: 0 });
    state.apply(frame(7, { snapshot: true, courses: [row("c", 1)] }));
    state.apply(frame(6, { courses: [row("d", 9)] }));
    state.apply(frame(6, { snapshot: true, courses: [row("e", 9)] }));
    expect(state.view().courses).toMatchObject([{ userId: "c" }]);
  });

  it("takes frames of a server that does not number them as they come", () => {
    const state = createTopicState("course:c", createFakeClock());
    const unnumbered = (viewers: number) => ({ topic: "course:c", at: clockOf(viewers), viewers }) as Update;
    state.replace({ ...unnumbered(1), courses: [row("a", 1)] });
    for (const viewers of [2, 3, 4]) state.apply(unnumbered(viewers));
    expect(state.view()).toMatchObject({ viewers: 4, courses: [{ userId: "a" }] });
  });

  it("holds only the new snapshot after a reconnect", () => {
    const state = createTopicState("course:c", createFakeClock());
    state.replace(frame(5, { courses: [row("a", 9)], present: [here], viewers: 1 }));
    state.replace(frame(3, { courses: [row("b", 2)] }));
    expect(state.view()).toMatchObject({ courses: [{ userId: "b" }], present: [], viewers: 0 });
  });

  it("shows each stream at its highest version, and no removed stream", () => {
    const state = createTopicState("streams", createFakeClock());
    state.replace(frame(0, { streams: [stream("s", 1), stream("t", 2)] }));
    state.apply(frame(2, { streams: [stream("s", 4, "live")] }));
    state.apply(frame(1, { streams: [stream("s", 3, "reconnecting")] }));
    state.apply(frame(3, { removed: [{ kind: "stream", streamId: "t", version: 5 }] }));
    state.apply(frame(4, { streams: [stream("t", 5, "live")] }));
    expect(state.view().streams.map(({ id, status }) => [id, status])).toEqual([["s", "live"]]);
    state.replace(frame(5, { streams: [stream("t", 1)] }));
    expect(state.view().streams.map(({ id }) => id)).toEqual(["t"]);
  });

  it("takes presence from the frame that was made last, and drops viewers who left", () => {
    const state = createTopicState("course:c", createFakeClock());
    state.replace(frame(3, { viewers: 0 }));
    state.apply(frame(5, { present: [here], viewers: 1 }));
    state.apply(frame(4, { present: [{ ...here, position: 3 }], viewers: 7 }));
    expect(state.view()).toMatchObject({ present: [{ position: 10 }], viewers: 1 });
    state.apply(frame(6, { removed: [{ kind: "present", userId: "a", fileId: "f", version: 0 }], viewers: 0 }));
    expect(state.view()).toMatchObject({ present: [], viewers: 0 });
  });
});

describe("the extrapolated position", () => {
  it("goes on from the reported position at the reported rate, to the end of the file at most", () => {
    const present = { ...here, heardAtMs: 1000 };
    expect(extrapolatePosition(present, 2500)).toBe(14);
    expect(extrapolatePosition(present, 60_000, 24)).toBe(24);
  });

  it("stands still while the viewer does not play", () => {
    expect(extrapolatePosition({ ...here, state: "paused", heardAtMs: 1000 }, 9000)).toBe(10);
  });

  it("is behind from the frame that says so to the frame that ends it, or to the next snapshot", () => {
    const state = createTopicState("course:c1", { monotonicMs: () => 0 });
    state.replace(frame(1, { snapshot: true }));
    expect(state.view().behind).toBe(false);
    state.apply(frame(2, { behind: true }));
    state.apply(frame(3, { viewers: 1 }));
    expect(state.view().behind).toBe(true);
    state.apply(frame(4, { behind: false }));
    expect(state.view().behind).toBe(false);
    state.apply(frame(5, { behind: true }));
    state.replace(frame(6, { snapshot: true }));
    expect(state.view().behind).toBe(false);
    state.replace(frame(7, { snapshot: true, behind: true }));
    expect(state.view().behind).toBe(true);
  });
});
