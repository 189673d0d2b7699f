import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  createWorld,
  FRAME_MS,
  MEGABYTE,
  people,
  SECOND,
  toRow,
  useFakeClock,
} from "../../../test/helpers/live-world.ts";

beforeEach(useFakeClock);
afterEach(() => {
  vi.useRealTimers();
});

describe("a subscriber", () => {
  it("gets frames whose numbers only grow, whichever way it is served and whatever clock the server has", async () => {
    const world = createWorld();
    const { snapshot, ready } = await world.subscribe("a", "file:f1");
    ready();
    for (let i = 0; i < 20; i++) {
      vi.setSystemTime(Date.now() + (i % 2 === 0 ? 3_600_000 : -3_600_000));
      world.buffered.set("a", i % 5 === 0 ? MEGABYTE : 0);
      world.write("f1", people(3));
      await vi.advanceTimersByTimeAsync(FRAME_MS);
    }
    const numbers = [snapshot, ...world.framesOf("a")].map(({ n }) => n);
    expect(numbers.length).toBeGreaterThan(10);
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  });

  it("gets changes that came while its snapshot was on its way after the snapshot", async () => {
    const world = createWorld();
    const { ready } = await world.subscribe("a", "file:f1");
    world.write("f1", ["alice"]);
    world.report();
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.framesOf("a")).toEqual([]);
    ready();
    expect(world.framesOf("a")).toMatchObject([
      {
        progress: [{ userId: "alice", version: 1 }],
        present: [{ userId: "alice" }],
        viewers: 1,
        totals: { learners: 1 },
      },
    ]);
  });

  it("shares its snapshot with subscribers who come meanwhile, and gets none that was begun before it came", async () => {
    const world = createWorld();
    const begun = world.subscribe("early", "file:f1");
    await Promise.resolve();
    world.rows.set("alice f1", toRow("alice", "f1", 1, 0)); // nobody is told of this row
    const late = await Promise.all(people(100).map((id) => world.subscribe(id, "file:f1")));
    for (const { snapshot } of late) expect(snapshot).toMatchObject({ progress: [{ version: 1 }] });
    await begun;
    expect(world.snapshots()).toBe(2);

    world.failing.snapshot = Promise.reject(new Error("the database is away"));
    world.failing.snapshot.catch(() => undefined);
    const failed = await Promise.allSettled(people(3).map((id) => world.subscribe(`again-${id}`, "file:f1")));
    expect(failed.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    world.failing.snapshot = null;
    expect((await world.subscribe("last", "file:f1")).snapshot).toMatchObject({ progress: [{ version: 1 }] });
  });

  it("gets at most one frame of a topic in each interval, whichever way it is served and however busy the others are", async () => {
    const world = createWorld();
    for (const name of ["file:f1", "file:f2", "user:alice"]) (await world.subscribe("a", name)).ready();
    let again = await world.subscribe("b", "file:f1");
    for (let i = 0; i < 100; i++) {
      if (i % 20 === 8) again.ready();
      world.write(i % 2 === 0 ? "f1" : "f2", ["alice", ...people(300)]);
      world.report({ position: i });
      world.buffered.set("a", i % 7 === 0 ? MEGABYTE : 0);
      if (i % 20 === 0) again = await world.subscribe("b", "file:f1");
      await vi.advanceTimersByTimeAsync(37);
    }
    world.buffered.set("a", 0);
    await vi.advanceTimersByTimeAsync(10 * SECOND);
    for (const id of ["a", "b"]) {
      for (const topic of ["file:f1", "file:f2", "user:alice"]) {
        const times = world.got.filter((frame) => frame.id === id && frame.update.topic === topic).map(({ at }) => at);
        const gaps = times.slice(1).map((at, i) => at - (times[i] as number));
        expect(Math.min(...gaps, FRAME_MS)).toBeGreaterThanOrEqual(FRAME_MS - 1);
      }
    }
    expect(world.framesOf("b").length).toBeGreaterThan(10);
  });

  it("gets no frame longer than 64 KB: the rest comes in the next frames, and everything comes", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    (await world.subscribe("b", "user:alice")).ready();
    world.write("f1", people(900));
    for (let i = 0; i < 100; i++) world.write(`f-${i}`, ["alice"], 128);
    await vi.advanceTimersByTimeAsync(10 * SECOND);
    for (const { update } of world.got) expect(JSON.stringify(update).length).toBeLessThanOrEqual(65_536 - 100);
    expect(world.framesOf("a").length).toBeGreaterThan(3);
    expect(world.shownTo("a").size).toBe(900);
    expect(world.shownTo("b").size).toBe(100);
  });

  it("reads how long ago a player was seen at the time of the frame, however late the frame is", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    await vi.advanceTimersByTimeAsync(FRAME_MS);
    world.buffered.set("a", MEGABYTE);
    world.report({ ageMs: 100 });
    await vi.advanceTimersByTimeAsync(5 * SECOND);
    world.buffered.set("a", 0);
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.framesOf("a").at(-1)?.present?.[0]?.ageMs).toBeGreaterThan(5000);
  });
});

describe("a viewer", () => {
  it("is shown in one frame with the progress of the same heartbeat, though other topics send frames meanwhile", async () => {
    const world = createWorld();
    for (const name of ["file:f1", "file:f2"]) (await world.subscribe("a", name)).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    world.report({ fileId: "f1" });
    await vi.advanceTimersByTimeAsync(20);
    world.write("f2", ["bob"]);
    await vi.advanceTimersByTimeAsync(40);
    world.write("f1", ["alice"]);
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.framesOf("a").filter(({ topic }) => topic === "file:f1")).toMatchObject([
      { progress: [{ userId: "alice" }], present: [{ userId: "alice" }], viewers: 1 },
    ]);
  });

  it("is shown when its player reports, and as removed when its lease has ended", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    world.report({ leaseMs: 3 * SECOND });
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.framesOf("a").at(-1)).toMatchObject({ present: [{ userId: "alice", position: 5 }], viewers: 1 });
    await vi.advanceTimersByTimeAsync(4 * SECOND);
    expect(world.framesOf("a").at(-1)).toMatchObject({
      removed: [{ kind: "present", userId: "alice", fileId: "f1", version: 0 }],
      viewers: 0,
    });
  });
});

describe("a room", () => {
  it("reads everything again, and begins a new snapshot, after notifications may have been lost", async () => {
    const world = createWorld();
    const asked = vi.fn();
    world.hub.onResync(asked);
    (await world.subscribe("a", "file:f1")).ready();
    world.rows.set("alice f1", toRow("alice", "f1", 7, 0)); // nobody is told of this row
    world.resync();
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.framesOf("a")).toMatchObject([{ snapshot: true, progress: [{ userId: "alice", version: 7 }] }]);
    expect(asked).toHaveBeenCalledOnce();
  });

  it("shows no row that was deleted while more than a frame waited, once everything was read again", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    world.write("f1", people(900));
    await vi.advanceTimersByTimeAsync(FRAME_MS);
    const alice = toRow("alice", "f1", 2000, 0);
    world.rows.clear(); // nobody is told of the single rows
    world.rows.set("alice f1", alice);
    world.resync();
    await vi.advanceTimersByTimeAsync(10 * SECOND);
    expect(world.shownTo("a")).toEqual(world.versions());
  });

  it("gives a subscriber that subscribes anew none of what waited for it before", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    world.buffered.set("a", MEGABYTE);
    world.write("f1", people(900));
    await vi.advanceTimersByTimeAsync(SECOND);
    world.rows.clear();
    const { snapshot, ready } = await world.subscribe("a", "file:f1");
    expect(snapshot).toMatchObject({ progress: [] });
    ready();
    world.buffered.set("a", 0);
    await vi.advanceTimersByTimeAsync(10 * SECOND);
    expect(world.shownTo("a").size).toBe(0);
  });

  it("ends with an empty snapshot for members of a topic whose rows were deleted", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    (await world.subscribe("b", "file:f1")).ready();
    world.write("f1", ["alice"]);
    world.report();
    await vi.advanceTimersByTimeAsync(SECOND);
    world.hub.end("file:f1", "a");
    const frames = world.framesOf("a");
    expect(frames.at(-1)).toEqual({
      topic: "file:f1",
      n: expect.any(Number),
      at: expect.any(String),
      viewers: 0,
      totals: { learners: 0, completed: 0, percentage: 0 },
      snapshot: true,
    });
    world.write("f1", ["bob"]);
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.framesOf("a")).toHaveLength(frames.length);
    expect(world.framesOf("b").at(-1)).toMatchObject({ progress: [{ userId: "bob" }] });
  });

  it("shows a row that changes while everything is read again in its newest state", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    for (let i = 0; i < 50; i++) {
      world.write("f1", people(5));
      if (i % 3 === 0) world.resync();
      await vi.advanceTimersByTimeAsync(41);
    }
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.shownTo("a")).toEqual(world.versions());
    expect(world.framesOf("a").filter(({ snapshot }) => snapshot).length).toBeGreaterThan(3);
  });

  it("goes on trying to read while the database is away", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    world.failing.reads = true;
    world.write("f1", ["alice"]);
    await vi.advanceTimersByTimeAsync(5 * SECOND);
    expect(world.shownTo("a").size).toBe(0);
    world.failing.reads = false;
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.shownTo("a")).toEqual(world.versions());

    world.failing.snapshot = Promise.reject(new Error("the database is away"));
    world.failing.snapshot.catch(() => undefined);
    world.rows.set("bob f1", toRow("bob", "f1", 9, 0));
    world.resync();
    await vi.advanceTimersByTimeAsync(5 * SECOND);
    world.failing.snapshot = null;
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.shownTo("a")).toEqual(world.versions());
  });

  it("says that a row is removed, by the newest version it heard, where there is no row behind a change", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    world.write("f1", ["alice"]);
    await vi.advanceTimersByTimeAsync(SECOND);
    world.failing.reads = true;
    world.write("f1", ["alice"]);
    await vi.advanceTimersByTimeAsync(50);
    world.write("f1", ["alice"]);
    world.rows.clear();
    world.failing.reads = false;
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.framesOf("a").flatMap(({ removed }) => removed ?? [])).toEqual([
      { kind: "progress", userId: "alice", fileId: "f1", version: 3 },
    ]);
  });

  it("shows rows without their sums while the sums cannot be read, and the sums when they can", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    await vi.advanceTimersByTimeAsync(2 * SECOND);
    world.failing.totals = true;
    world.write("f1", people(3));
    await vi.advanceTimersByTimeAsync(5 * SECOND);
    expect(world.shownTo("a")).toEqual(world.versions());
    expect(world.framesOf("a").filter(({ totals }) => totals?.learners === 3)).toEqual([]);
    world.failing.totals = false;
    await vi.advanceTimersByTimeAsync(2 * SECOND);
    expect(world.framesOf("a").at(-1)).toMatchObject({ totals: { learners: 3 } });
  });

  it("does not wait for the rows of many others that changed at the same time", async () => {
    const world = createWorld();
    const files = Array.from({ length: 1000 }, (_, i) => `f${i}`);
    for (const file of files) (await world.subscribe("a", `file:${file}`)).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    world.failing.readMs = 20;
    for (const file of files) world.write(file, ["alice"]);
    const writtenAt = performance.now();
    await vi.advanceTimersByTimeAsync(SECOND);
    const sentAt = world.got.filter(({ update }) => update.progress !== undefined).map(({ at }) => at - writtenAt);
    expect(sentAt).toHaveLength(1000);
    expect(Math.min(...sentAt)).toBeLessThan(Math.max(...sentAt) / 3);
  });

  it("is forgotten with its last member", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    expect(world.hub.topicsOfCourse("c1", ["file:f1"])).toEqual(["file:f1"]);
    world.hub.unsubscribe("file:f1", "a");
    expect(world.hub.topicsOfCourse("c1", ["file:f1"])).toEqual([]);
    world.write("f1", ["alice"]);
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.got).toEqual([]);
  });
});
