import type {
  CourseProgressRow,
  FileProgress,
  FileProgressRow,
  LessonProgress,
  Present,
  Removed,
  Stream,
  TopicTotals,
  Update,
} from "../protocol/wire.ts";

/*
 * The state of a topic, built from its snapshot and the frames after it. Frames may come late, twice or out of order.
 * Per key the highest version wins, and a removal wins over older rows of its key. Presence, viewers and totals have no
 * version: there the frame with the highest number wins. A frame with a lower number than the snapshot says nothing that
 * the snapshot does not know. Frames of an older server have no numbers: they count as they arrive.
 */

/** The state of a topic. The arrays are in no particular order. */
export interface TopicView {
  topic: string;
  /** When the newest frame was made, ISO 8601, by the server's clock; null before the snapshot. */
  at: string | null;
  progress: (FileProgress | FileProgressRow)[];
  lessons: LessonProgress[];
  courses: CourseProgressRow[];
  streams: Stream[];
  present: PresentView[];
  viewers: number;
  totals: TopicTotals | null;
  /** Whether the server may miss changes for now, so that the shown state may be old. */
  behind: boolean;
}

/** A viewer, and when the SDK heard of it. */
export interface PresentView extends Present {
  /** Monotonic milliseconds. */
  heardAtMs: number;
}

/** The rows of a frame, and the rows that are gone. */
export type TopicRows = Pick<Update, "progress" | "lessons" | "courses" | "streams" | "removed">;

export interface TopicState {
  /** Forgets the old state, and takes the snapshot of a new subscription as the whole state. */
  replace(snapshot: Update): void;
  /** Merges a frame. A frame that begins a new snapshot replaces the state. */
  apply(update: Update): void;
  /** Merges rows that came in no frame. */
  merge(rows: TopicRows): void;
  view(): TopicView;
}

/** Below the number of every frame. */
const NO_FRAME = -1;

type Versioned = { version: number };

/** Rows of one kind. It keeps the row with the highest version of each key. */
class VersionedRows<Row extends Versioned> {
  readonly #rows = new Map<string, Row>();
  readonly #removed = new Map<string, number>();
  readonly #toKey: (row: Row) => string;

  constructor(toKey: (row: Row) => string) {
    this.#toKey = toKey;
  }

  put(row: Row): void {
    const key = this.#toKey(row);
    if (row.version < (this.#rows.get(key)?.version ?? 0)) return;
    // A removed row may come back with a higher version: its content was named in the catalogue again.
    if (row.version <= (this.#removed.get(key) ?? -1)) return;
    this.#rows.set(key, row);
  }

  remove(key: string, version: number): void {
    this.#removed.set(key, Math.max(version, this.#removed.get(key) ?? -1));
    if ((this.#rows.get(key)?.version ?? 0) <= version) this.#rows.delete(key);
  }

  clear(): void {
    this.#rows.clear();
    this.#removed.clear();
  }

  toArray(): Row[] {
    return [...this.#rows.values()];
  }
}

/** Ids may contain every character but U+0000, so it separates them. */
function toKey(...ids: string[]): string {
  return ids.join("\u0000");
}

export function createTopicState(topic: string, { monotonicMs }: { monotonicMs(): number }): TopicState {
  const progress = new VersionedRows<FileProgress | FileProgressRow>((row) => toKey(row.userId, row.fileId));
  const lessons = new VersionedRows<LessonProgress>((row) => toKey(row.userId, row.lessonId));
  const courses = new VersionedRows<CourseProgressRow>((row) => toKey(row.userId, row.courseId));
  const streams = new VersionedRows<Stream>((row) => row.id);
  const present = new Map<string, PresentView>();
  let viewers = 0;
  let totals: TopicTotals | null = null;
  let at: string | null = null;
  let behind = false;
  /** The numbers of the newest frame, and of the frame that began the snapshot. */
  let newest = NO_FRAME;
  let begunBy = NO_FRAME;

  function remove(removed: Removed): void {
    if (removed.kind === "progress") progress.remove(toKey(removed.userId, removed.fileId), removed.version);
    else if (removed.kind === "lesson") lessons.remove(toKey(removed.userId, removed.lessonId), removed.version);
    else if (removed.kind === "course") courses.remove(toKey(removed.userId, removed.courseId), removed.version);
    else if (removed.kind === "stream") streams.remove(removed.streamId, removed.version);
  }

  function applyPresence(update: Update): void {
    for (const removed of update.removed ?? []) {
      if (removed.kind === "present") present.delete(toKey(removed.userId, removed.fileId));
    }
    const heardAtMs = monotonicMs();
    for (const one of update.present ?? []) present.set(toKey(one.userId, one.fileId), { ...one, heardAtMs });
    viewers = update.viewers ?? viewers;
    totals = update.totals ?? totals;
    behind = update.behind ?? behind;
    at = update.at;
    newest = update.n;
  }

  function merge(rows: TopicRows): void {
    for (const removed of rows.removed ?? []) remove(removed);
    for (const row of rows.progress ?? []) progress.put(row);
    for (const row of rows.lessons ?? []) lessons.put(row);
    for (const row of rows.courses ?? []) courses.put(row);
    for (const row of rows.streams ?? []) streams.put(row);
  }

  function replace(snapshot: Update): void {
    for (const rows of [progress, lessons, courses, streams]) rows.clear();
    present.clear();
    viewers = 0;
    totals = null;
    behind = false;
    begunBy = snapshot.n;
    merge(snapshot);
    applyPresence(snapshot);
  }

  return {
    replace,
    apply(update) {
      if (update.n < begunBy) return;
      if (update.snapshot) {
        replace(update);
        return;
      }
      merge(update);
      const isLate = update.n < newest;
      if (!isLate) applyPresence(update);
    },
    merge,
    view: () => ({
      topic,
      at,
      progress: progress.toArray(),
      lessons: lessons.toArray(),
      courses: courses.toArray(),
      streams: streams.toArray(),
      present: [...present.values()],
      viewers,
      totals,
      behind,
    }),
  };
}

/**
 * The position of a viewer now, in seconds, if it plays on. Show it, but never store it.
 * @param nowMs monotonic milliseconds, `performance.now()`
 */
export function extrapolatePosition(present: PresentView, nowMs: number, durationSeconds?: number | null): number {
  if (present.state !== "playing") return present.position;
  const seconds = (present.ageMs + Math.max(0, nowMs - present.heardAtMs)) / 1000;
  return Math.min(present.position + seconds * present.rate, durationSeconds ?? Number.POSITIVE_INFINITY);
}
