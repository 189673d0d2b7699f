import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { parseTopic, type Topic, type Update } from "../protocol/dashboard.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { type ChangedKey, channels, createMemoryBus, type PresenceReport } from "./bus.ts";
import { LiveHub } from "./live-hub.ts";
import type { TopicSource } from "./topic-source.ts";

const FRAME_MS = 250;
const SECOND = 1000;
const DROPPED_PAST_BYTES = 256 * 1024;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A hub over rows in memory and sockets that only remember. */
function createWorld() {
  const rows = new Map<string, FileProgress>();
  let snapshots = 0;
  const failing: { reads: boolean; snapshot: Promise<never> | null } = { reads: false, snapshot: null };
  let version = 0;
  const guard = async <T>(value: T): Promise<T> => {
    if (failing.reads) throw new Error("the database is away");
    return value;
  };
  const filesOf = (matches: (row: FileProgress) => boolean) => guard([...rows.values()].filter(matches));
  const none = () => guard([]);
  const totals = (ids: readonly string[]) =>
    guard(new Map(ids.map((id) => [id, { learners: rows.size, completed: 0, percentage: 0 }])));
  const source: TopicSource = {
    files: (keys) => filesOf((row) => keys.some(([userId, fileId]) => row.userId === userId && row.fileId === fileId)),
    lessons: none,
    courses: none,
    latestInCourse: none,
    latestInLesson: none,
    latestInFile(fileId) {
      snapshots += 1;
      return failing.snapshot ?? filesOf((row) => row.fileId === fileId);
    },
    ofUser: async (userId) => ({
      files: await filesOf((row) => row.userId === userId),
      lessons: [],
      courses: [],
    }),
    streams: none,
    latestStreams: none,
    courseTotals: totals,
    lessonTotals: totals,
    fileTotals: totals,
  };

  const joined = new Map<string, Set<string>>();
  const buffered = new Map<string, number>();
  const got: { id: string; update: Update; at: number }[] = [];
  const disconnected: string[] = [];
  const take = (id: string, update: string) =>
    got.push({ id, update: JSON.parse(update) as Update, at: performance.now() });
  /** As uWebSockets.js: what a turn publishes goes out, or is dropped in silence, when the turn is over. */
  const published = { at: 0, bytes: new Map<string, number>() };
  const publish = (id: string, update: string) => {
    if (published.at !== performance.now()) Object.assign(published, { at: performance.now(), bytes: new Map() });
    const bytes = (published.bytes.get(id) ?? 0) + update.length;
    published.bytes.set(id, bytes);
    if (bytes <= DROPPED_PAST_BYTES) take(id, update);
  };
  const bus = createMemoryBus();
  const metrics = createMetrics();
  const hub = new LiveHub(
    {
      bus,
      source,
      metrics,
      logger: createLogger({ level: "silent" }),
      outlet: {
        broadcast(topic, update) {
          for (const id of joined.get(topic) ?? []) publish(id, update);
        },
        send: take,
        join: (id, topic) => joined.set(topic, (joined.get(topic) ?? new Set()).add(id)),
        leave: (id, topic) => joined.get(topic)?.delete(id),
        bufferedBytes: (id) => buffered.get(id) ?? 0,
        disconnect: (id) => disconnected.push(id),
      },
    },
    { frameIntervalMs: FRAME_MS },
  );
  hub.start();

  const toKey = (userId: string, fileId: string): ChangedKey => ({
    courseId: "c1",
    lessonId: "l1",
    userId,
    fileId,
    version,
  });
  return {
    hub,
    failing,
    buffered,
    got,
    disconnected,
    metrics,
    rows,
    async subscribe(id: string, name: string) {
      const topic = parseTopic(name) as Topic;
      const snapshot = await hub.subscribe(name, topic, topic.kind === "user" ? null : "c1", { id });
      return { snapshot, ready: () => hub.ready(name, id) };
    },
    /** Stores rows and notifies of them, as a batch does. */
    write(fileId: string, userIds: string[], ranges = 0) {
      const keys = userIds.map((userId) => {
        version += 1;
        rows.set(`${userId} ${fileId}`, toRow(userId, fileId, version, ranges));
        return toKey(userId, fileId);
      });
      bus.publish(channels.course("c1"), { type: "changed", keys });
      for (const key of keys) bus.publish(channels.user(key.userId), { type: "changed", keys: [key] });
    },
    report(change: Partial<PresenceReport> = {}) {
      hub.report({
        courseId: "c1",
        lessonId: "l1",
        fileId: "f1",
        userId: "alice",
        position: 5,
        state: "playing",
        rate: 1,
        ageMs: 0,
        leaseMs: 30_000,
        ...change,
      });
    },
    snapshots: () => snapshots,
    resync: () => bus.publish(channels.all, { type: "again" }),
    framesOf: (id: string) => got.filter((frame) => frame.id === id).map(({ update }) => update),
    /** What a dashboard shows after these frames: the highest version a key. */
    shownTo(id: string): Map<string, number> {
      const shown = new Map<string, number>();
      for (const update of this.framesOf(id)) {
        if (update.snapshot) shown.clear();
        for (const row of update.progress ?? []) {
          const key = `${row.userId} ${row.fileId}`;
          shown.set(key, Math.max(shown.get(key) ?? 0, row.version));
        }
      }
      return shown;
    },
    versions: () => new Map([...rows].map(([key, row]) => [key, row.version])),
    async slowSockets() {
      return (await metrics.slowSockets.get()).values[0]?.value ?? 0;
    },
  };
}

function toRow(userId: string, fileId: string, version: number, ranges: number): FileProgress {
  return {
    userId,
    fileId,
    lessonId: "l1",
    courseId: "c1",
    position: 1,
    resumeAt: 0,
    duration: 100,
    watched: Array.from({ length: ranges }, (_, i) => [i * 10, i * 10 + 5] as [number, number]),
    watchedSeconds: 1,
    watchTimeSeconds: 1,
    percentage: 1,
    completed: false,
    lastWatched: null,
    epoch: 0,
    version,
  };
}

const people = (count: number) => Array.from({ length: count }, (_, i) => `user-${i}`);
const MEGABYTE = 2 ** 20;

describe("a subscriber", () => {
  it("gets what changed while its snapshot was under way, after the snapshot", async () => {
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

  it("shares its snapshot with who comes at the same time, and none that was begun before it came", async () => {
    const world = createWorld();
    const begun = world.subscribe("early", "file:f1");
    await Promise.resolve();
    world.rows.set("alice f1", toRow("alice", "f1", 1, 0)); // nobody is told of it any more
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

  it("gets at most one frame a topic in each interval, however it is served and however busy the others are", async () => {
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

  it("gets no frame longer than 64 KB, the rest in the next ones, and all of it", async () => {
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

  it("reads how long ago a player was seen at the time of the frame, however late that is", async () => {
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

describe("a subscriber that reads slowly", () => {
  it("gets nothing while its buffer is full, then the newest of everything, viewers and sums too", async () => {
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

  it("past what is worth keeping is given the whole anew, in frames of 64 KB", async () => {
    const world = createWorld();
    (await world.subscribe("slow", "file:f1")).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    world.buffered.set("slow", MEGABYTE);
    world.write("f1", people(2500));
    await vi.advanceTimersByTimeAsync(20 * SECOND);
    expect(world.framesOf("slow")).toEqual([]);
    world.buffered.set("slow", 0);
    // What goes on changing meanwhile may not start it over for ever.
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

  it("and is full from the start counts as slow once, and no longer when it is gone", async () => {
    const world = createWorld();
    world.buffered.set("slow", MEGABYTE);
    for (const name of ["file:f1", "file:f2"]) (await world.subscribe("slow", name)).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(await world.slowSockets()).toBe(2);
    world.buffered.set("slow", 0);
    await vi.advanceTimersByTimeAsync(SECOND);
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

  it("that left while its snapshot failed is not served any more", async () => {
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

describe("a room", () => {
  it("reads again, and begins anew, after notifications may have been lost", async () => {
    const world = createWorld();
    const asked = vi.fn();
    world.hub.onResync(asked);
    (await world.subscribe("a", "file:f1")).ready();
    world.rows.set("alice f1", toRow("alice", "f1", 7, 0)); // nobody was told
    world.resync();
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.framesOf("a")).toMatchObject([{ snapshot: true, progress: [{ userId: "alice", version: 7 }] }]);
    expect(asked).toHaveBeenCalledOnce();
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

  it("says that a row is removed where there is none behind a change", async () => {
    const world = createWorld();
    (await world.subscribe("a", "file:f1")).ready();
    world.write("f1", ["alice"]);
    await vi.advanceTimersByTimeAsync(SECOND);
    world.write("f1", ["alice"]);
    world.rows.clear();
    await vi.advanceTimersByTimeAsync(SECOND);
    expect(world.framesOf("a").at(-1)).toMatchObject({
      removed: [{ kind: "progress", userId: "alice", fileId: "f1", version: 2 }],
    });
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
