import { vi } from "vitest";
import type { ChangedKey, PresenceReport } from "../../src/live/bus/bus.ts";
import { channels } from "../../src/live/bus/channels.ts";
import { createMemoryBus } from "../../src/live/bus/memory-bus.ts";
import { LiveHub } from "../../src/live/hub/live-hub.ts";
import type { Subscriber } from "../../src/live/hub/outlet.ts";
import type { TopicSource } from "../../src/live/hub/topic-source.ts";
import { Presence } from "../../src/live/presence/presence.ts";
import { createLogger, type Logger } from "../../src/logger.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { parseTopic, type Topic, type Update } from "../../src/protocol/dashboard.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";

/*
 * A hub over rows in memory, and subscribers that only write down what they get. For fake timers.
 */

export const FRAME_MS = 250;
export const SECOND = 1000;
export const MEGABYTE = 2 ** 20;
/** The least that MAX_BACKPRESSURE_BYTES may be: past it uWebSockets.js drops frames in silence. */
const DROPPED_PAST_BYTES = 256 * 1024;

export const people = (count: number) => Array.from({ length: count }, (_, i) => `user-${i}`);

export function useFakeClock(): void {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance", "Date"] });
}

/** Rows in memory, and how their reading fails, or how long it takes. */
function createRows() {
  const rows = new Map<string, FileProgress>();
  const failing: { reads: boolean; totals: boolean; snapshot: Promise<never> | null; readMs: number } = {
    reads: false,
    totals: false,
    snapshot: null,
    readMs: 0,
  };
  let snapshots = 0;
  const guard = async <T>(value: T): Promise<T> => {
    if (failing.reads) throw new Error("the database is away");
    return value;
  };
  const filesOf = (matches: (row: FileProgress) => boolean) => guard([...rows.values()].filter(matches));
  const none = () => guard([]);
  const totals = async (ids: readonly string[]) => {
    if (failing.totals) throw new Error("the sums cannot be read");
    return guard(new Map(ids.map((id) => [id, { learners: rows.size, completed: 0, percentage: 0 }])));
  };
  const files: TopicSource["files"] = (keys) =>
    filesOf((row) => keys.some(([userId, fileId]) => row.userId === userId && row.fileId === fileId));
  const source: TopicSource = {
    files,
    async fileRows(keys) {
      if (failing.readMs > 0 && keys.length > 0) await new Promise((resolve) => setTimeout(resolve, failing.readMs));
      return (await files(keys)).map(({ watched: _ranges, ...row }) => row);
    },
    lessons: none,
    courses: none,
    latestInCourse: none,
    latestInLesson: none,
    latestInFile(fileId) {
      snapshots += 1;
      return failing.snapshot ?? filesOf((row) => row.fileId === fileId);
    },
    ofUser: async (userId) => ({ files: await filesOf((row) => row.userId === userId), lessons: [], courses: [] }),
    streams: none,
    latestStreams: none,
    courseTotals: totals,
    lessonTotals: totals,
    fileTotals: totals,
  };
  return { rows, failing, source, snapshots: () => snapshots };
}

/** Subscribers by id: what each got, and what its buffer is said to hold. */
function createSubscribers() {
  const joined = new Map<string, Set<string>>();
  const buffered = new Map<string, number>();
  const got: { id: string; update: Update; at: number }[] = [];
  const disconnected: string[] = [];
  const take = (id: string, update: string) =>
    got.push({ id, update: JSON.parse(update) as Update, at: performance.now() });
  /** As with uWebSockets.js, what a turn publishes goes out, or is dropped in silence, when the turn is over. */
  const published = { at: 0, bytes: new Map<string, number>() };
  const outlet = {
    broadcast(topic: string, update: string) {
      if (published.at !== performance.now()) Object.assign(published, { at: performance.now(), bytes: new Map() });
      for (const id of joined.get(topic) ?? []) {
        const bytes = (published.bytes.get(id) ?? 0) + update.length;
        published.bytes.set(id, bytes);
        if (bytes <= DROPPED_PAST_BYTES) take(id, update);
      }
    },
  };
  const toSubscriber = (id: string): Subscriber => ({
    id,
    join: (topic) => joined.set(topic, (joined.get(topic) ?? new Set()).add(id)),
    leave: (topic) => joined.get(topic)?.delete(id),
    send: (update) => take(id, update),
    bufferedBytes: () => buffered.get(id) ?? 0,
    disconnect: () => disconnected.push(id),
  });
  return { outlet, toSubscriber, buffered, got, disconnected };
}

export function createWorld(logger: Logger = createLogger({ level: "silent" })) {
  const { rows, failing, source, snapshots } = createRows();
  const { outlet, toSubscriber, buffered, got, disconnected } = createSubscribers();
  const bus = createMemoryBus();
  const metrics = createMetrics();
  const hub = new LiveHub(
    { bus, presence: new Presence(), source, outlet, metrics, logger },
    { frameIntervalMs: FRAME_MS },
  );
  hub.start();
  let version = 0;
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
    rows,
    snapshots,
    async subscribe(id: string, name: string) {
      const topic = parseTopic(name) as Topic;
      const courseId = topic.kind === "user" ? null : "c1";
      const snapshot = await hub.subscribe(name, topic, courseId, toSubscriber(id));
      return { snapshot, ready: () => hub.ready(name, id) };
    },
    /** Stores rows and tells of them, as a batch does. */
    write(fileId: string, userIds: string[], ranges = 0) {
      const keys = userIds.map((userId) => {
        version += 1;
        rows.set(`${userId} ${fileId}`, toRow(userId, fileId, version, ranges));
        return toKey(userId, fileId);
      });
      bus.publishChanges(keys);
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
    resync: () => bus.publish(channels.all, { type: "again" }),
    framesOf: (id: string) => got.filter((frame) => frame.id === id).map(({ update }) => update),
    /** What a dashboard shows after these frames: the highest version of each key. */
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

export function toRow(userId: string, fileId: string, version: number, ranges: number): FileProgress {
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
