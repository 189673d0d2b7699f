import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lengthOf, type Range, unionOf } from "../protocol/ranges.ts";
import { createPlayedTracker, type Sample } from "./played-tracker.ts";

function sample(position: number, atMs: number, more: Partial<Sample> = {}): Sample {
  return { position, atMs, rate: 1, advancing: true, ...more };
}

describe("the played tracker", () => {
  it("credits the part between two samples of a playing media", () => {
    const tracker = createPlayedTracker();
    tracker.sample(sample(10, 0));
    tracker.sample(sample(10.25, 250));
    tracker.sample(sample(10.5, 500, { advancing: false }));
    expect(tracker.take()).toEqual([[10_000, 10_500]]);
    expect(tracker.take()).toEqual([]);
  });

  it("credits nothing for a jump, forward or back, even where no seek was announced", () => {
    const tracker = createPlayedTracker();
    tracker.sample(sample(10, 0));
    tracker.sample(sample(95, 250));
    tracker.sample(sample(5, 500));
    expect(tracker.take()).toEqual([]);
  });

  it("credits nothing across a seek, however short", () => {
    const tracker = createPlayedTracker();
    tracker.sample(sample(10, 0));
    tracker.cut(0);
    tracker.sample(sample(10.2, 250));
    expect(tracker.take()).toEqual([]);
  });

  it("credits nothing while the media is paused, even if the position moves", () => {
    const tracker = createPlayedTracker();
    tracker.sample(sample(10, 0, { advancing: false }));
    tracker.sample(sample(10.2, 250));
    expect(tracker.take()).toEqual([]);
  });

  it("credits a whole minute between two samples of a throttled background tab", () => {
    const tracker = createPlayedTracker();
    tracker.sample(sample(10, 0));
    tracker.sample(sample(70, 60_000));
    expect(tracker.take()).toEqual([[10_000, 70_000]]);
  });

  it("credits at double speed no more than double speed can play", () => {
    const tracker = createPlayedTracker();
    tracker.sample(sample(0, 0, { rate: 2 }));
    tracker.sample(sample(20, 10_000, { rate: 2 }));
    tracker.sample(sample(60, 20_000, { rate: 2 }));
    expect(tracker.take()).toEqual([[0, 20_000]]);
  });

  it("ignores a position that is not a number", () => {
    const tracker = createPlayedTracker();
    tracker.sample(sample(1, 0));
    tracker.sample(sample(Number.NaN, 250));
    tracker.add(Number.NaN, 3);
    tracker.sample(sample(1.5, 500));
    expect(tracker.take()).toEqual([[1000, 1500]]);
  });

  // One step of a person at a player: play for a while, seek, pause, change the speed.
  const step = fc.oneof(
    fc.record({ kind: fc.constant("play" as const), ms: fc.integer({ min: 1, max: 90_000 }) }),
    fc.record({ kind: fc.constant("seek" as const), to: fc.integer({ min: 0, max: 600_000 }) }),
    fc.record({ kind: fc.constant("pause" as const), ms: fc.integer({ min: 1, max: 90_000 }) }),
    fc.record({ kind: fc.constant("rate" as const), rate: fc.constantFrom(0.5, 1, 1.5, 2, 4) }),
    fc.record({ kind: fc.constant("take" as const) }),
  );

  it("claims every played range and no other, whatever a person does", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const tracker = createPlayedTracker();
        const truth: Range[] = [];
        const claimed: Range[] = [];
        let [atMs, positionMs, rate] = [0, 0, 1];
        const look = (advancing: boolean) => tracker.sample({ position: positionMs / 1000, atMs, rate, advancing });
        for (const one of steps) {
          if (one.kind === "take") claimed.push(...tracker.take());
          if (one.kind === "rate") rate = one.rate;
          if (one.kind === "pause") {
            look(false);
            atMs += one.ms;
          }
          if (one.kind === "seek") {
            tracker.cut(atMs);
            positionMs = one.to;
          }
          if (one.kind === "play") {
            look(true);
            const from = positionMs;
            atMs += one.ms;
            positionMs += Math.round(one.ms * rate);
            truth.push([from, positionMs]);
            look(false);
          }
        }
        claimed.push(...tracker.take());
        expect(unionOf(claimed)).toEqual(unionOf(truth));
      }),
    );
  });
});

describe("a seek while the media plays", () => {
  it("ends the part that plays at the seek, not at the sample before it", () => {
    const tracker = createPlayedTracker();
    tracker.sample(sample(10, 0));
    tracker.sample(sample(10.25, 250));
    tracker.cut(430);
    expect(tracker.take()).toEqual([[10_000, 10_430]]);
  });

  it("begins the next part at the place that was sought, however late the media is looked at", () => {
    const tracker = createPlayedTracker();
    tracker.cut(0);
    tracker.sample(sample(30, 0, { rate: 0 }));
    tracker.cut(20);
    tracker.sample(sample(30, 20, { rate: 0 }));
    tracker.sample(sample(30.2, 300));
    tracker.sample(sample(31, 1100));
    expect(tracker.take()).toEqual([[30_000, 31_000]]);
  });

  it("claims nothing after the last sample for a media that stalled, nor for longer than a sample is away", () => {
    const tracker = createPlayedTracker();
    tracker.sample(sample(10, 0, { rate: 0 }));
    tracker.cut(300);
    tracker.sample(sample(20, 300));
    tracker.cut(60_000);
    expect(lengthOf(tracker.take(true))).toBeLessThan(500);
  });

  it("leaves no ranges of a drag, and keeps what played before and after it", () => {
    const tracker = createPlayedTracker();
    tracker.sample(sample(0, 0));
    for (let step = 1; step <= 25; step++) {
      const atMs = step * 200;
      tracker.cut(atMs);
      tracker.sample(sample(step * 10, atMs, { rate: 0 }));
      tracker.sample(sample(step * 10 + 0.19, atMs + 195));
    }
    tracker.sample(sample(250.8, 5800));
    expect(tracker.take()).toEqual([
      [0, 200],
      [250_000, 250_800],
    ]);
  });
});
