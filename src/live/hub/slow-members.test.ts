import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createWorld, FRAME_MS, MEGABYTE, people, SECOND, useFakeClock } from "../../../test/helpers/live-world.ts";

beforeEach(useFakeClock);
afterEach(() => {
  vi.useRealTimers();
});

describe("a subscriber that reads slowly", () => {
  it("gets nothing while its buffer is full, and then the newest state of everything, with viewers and sums", async () => {
    const world = createWorld();
    (await world.subscribe("slow", "file:f1")).ready();
    (await world.subscribe("healthy", "file:f1")).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    world.buffered.set("slow", MEGABYTE);
    for (let i = 0; i < 40; i++) {
      world.write("f1", people(20));
      if (i === 3) world.report();
      await vi.advanceTimersByTimeAsync(FRAME_MS);
    }
    expect(world.framesOf("slow")).toEqual([]);
    expect(world.framesOf("healthy").length).toBeGreaterThanOrEqual(40);
    expect(await world.slowSockets()).toBe(1);
    world.buffered.set("slow", 0);
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.shownTo("slow")).toEqual(world.versions());
    expect(world.framesOf("slow")).toMatchObject([{ viewers: 1, totals: { learners: 20 } }]);
    expect(await world.slowSockets()).toBe(0);
    world.write("f1", ["late"]);
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.shownTo("slow")).toEqual(world.versions());
  });

  it("gets a whole snapshot, in frames of 64 KB, when it has missed more than is worth keeping", async () => {
    const world = createWorld();
    (await world.subscribe("slow", "file:f1")).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    world.buffered.set("slow", MEGABYTE);
    world.write("f1", people(2500));
    await vi.advanceTimersByTimeAsync(20 * SECOND);
    expect(world.framesOf("slow")).toEqual([]);
    world.buffered.set("slow", 0);
    // Rows that go on changing do not make the snapshot begin again.
    for (let i = 0; i < 60; i++) {
      world.write("f1", people(10));
      await vi.advanceTimersByTimeAsync(FRAME_MS);
    }
    await vi.advanceTimersByTimeAsync(5 * SECOND);
    const frames = world.framesOf("slow");
    expect(frames.filter((frame) => frame.snapshot)).toHaveLength(1);
    expect(frames[0]?.snapshot).toBe(true);
    for (const frame of frames) expect(JSON.stringify(frame).length).toBeLessThanOrEqual(65_536);
    expect(world.shownTo("slow")).toEqual(world.versions());
  });

  it("is disconnected when its buffer has not emptied for half a minute", async () => {
    const world = createWorld();
    (await world.subscribe("stuck", "file:f1")).ready();
    world.buffered.set("stuck", MEGABYTE);
    world.write("f1", ["alice"]);
    await vi.advanceTimersByTimeAsync(29 * SECOND);
    expect(world.disconnected).toEqual([]);
    await vi.advanceTimersByTimeAsync(2 * SECOND);
    expect(world.disconnected).toContain("stuck");
  });

  it("counts as slow once a topic when its buffer is full from the start, and no more when it has emptied", async () => {
    const world = createWorld();
    world.buffered.set("slow", MEGABYTE);
    for (const name of ["file:f1", "file:f2"]) (await world.subscribe("slow", name)).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(await world.slowSockets()).toBe(2);
    world.buffered.set("slow", 0);
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(await world.slowSockets()).toBe(0);
  });

  it("counts as slow no more when it has left", async () => {
    const world = createWorld();
    world.buffered.set("slow", MEGABYTE);
    (await world.subscribe("slow", "file:f1")).ready();
    expect(await world.slowSockets()).toBe(1);
    world.hub.unsubscribe("file:f1", "slow");
    expect(await world.slowSockets()).toBe(0);
  });

  it("is handed no more in one turn than its buffer holds, however many topics change at once", async () => {
    const world = createWorld();
    const topics = Array.from({ length: 60 }, (_, i) => `file:f-${i}`);
    for (const name of topics) (await world.subscribe("a", name)).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    for (let i = 0; i < topics.length; i++) world.write(`f-${i}`, people(150));
    await vi.advanceTimersByTimeAsync(5 * SECOND);
    expect(world.shownTo("a")).toEqual(world.versions());
  });

  it("is not served any more when it left while its snapshot failed", async () => {
    const world = createWorld();
    (await world.subscribe("gone", "file:f1")).ready();
    (await world.subscribe("healthy", "file:f1")).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    world.buffered.set("gone", MEGABYTE);
    world.write("f1", people(1500));
    await vi.advanceTimersByTimeAsync(5 * SECOND);
    let fail: (error: Error) => void = () => undefined;
    world.failing.snapshot = new Promise<never>((_, reject) => {
      fail = reject;
    });
    world.buffered.set("gone", 0);
    world.write("f1", ["alice"]);
    await vi.advanceTimersByTimeAsync(SECOND);
    world.hub.unsubscribe("file:f1", "gone");
    fail(new Error("the database is away"));
    await vi.advanceTimersByTimeAsync(SECOND);
    world.failing.snapshot = null;
    world.write("f1", ["alice"]);
    await vi.advanceTimersByTimeAsync(5 * SECOND);
    expect(world.framesOf("gone")).toEqual([]);
    expect(world.shownTo("healthy")).toEqual(world.versions());
  });
});
