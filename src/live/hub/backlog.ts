import type { Present, Removed, Update } from "../../protocol/dashboard.ts";
import type { CourseProgressRow, FileProgress, FileProgressRow, LessonProgress } from "../../protocol/progress.ts";
import type { Stream } from "../../protocol/stream.ts";

/*
 * What waits for the next frame: the newest state per key, and nothing else. A frame takes as many entries as fit; the
 * others wait for the frame after it.
 */

/** The most that entries take of a frame of 64 KB; the rest is for the text around them. */
export const MAX_FRAME_BYTES = 60_000;

/**
 * One state of one key. Rooms, and members served alone, share an entry; so its key, its text and the text's length are
 * made once, by the first that needs them.
 */
export type Entry = { key?: string; text?: string; bytes?: number } & (
  | { field: "progress"; value: FileProgress | FileProgressRow }
  | { field: "lessons"; value: LessonProgress }
  | { field: "courses"; value: CourseProgressRow }
  | { field: "streams"; value: Stream }
  /** `seenAt`: when the position was seen, by the monotonic clock. Every frame says anew how long ago that is. */
  | { field: "present"; value: Present; seenAt: number }
  | { field: "removed"; value: Removed }
);

/** The fields of entries that belong to one user. */
type UserField = "progress" | "lessons" | "courses" | "present";

type Lists = Pick<Update, "progress" | "lessons" | "courses" | "streams" | "present" | "removed">;

/** The entries of one frame. */
export interface Batch {
  entries: readonly Entry[];
  bytes: number;
}

const EMPTY: Batch = { entries: [], bytes: 0 };

export class Backlog {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  /** A later state of a key takes the place of an earlier one. */
  put(entry: Entry): void {
    entry.key ??= keyOf(entry);
    this.#entries.set(entry.key, entry);
  }

  clear(): void {
    this.#entries.clear();
  }

  /** Everything that waits, oldest first. */
  entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** Takes as many entries as fit into one frame, oldest first; at least one. */
  take(): Batch {
    if (this.#entries.size === 0) return EMPTY;
    const entries: Entry[] = [];
    let bytes = 0;
    for (const entry of this.#entries.values()) {
      const size = bytesOf(entry) + 1;
      if (bytes > 0 && bytes + size > MAX_FRAME_BYTES) break;
      entries.push(entry);
      bytes += size;
    }
    // Not `clear`, which makes a new table: most rooms have one entry a frame.
    for (const { key } of entries) this.#entries.delete(key as string);
    return { entries, bytes };
  }
}

/** The key of a user's state in a backlog. `id` names the file, the lesson or the course. */
export function keyOfUser(field: UserField, userId: string, id: string): string {
  return `${field}\u0000${userId}\u0000${id}`;
}

/** A removal takes the place of the state that it removes, and a state that of a removal. */
function keyOf({ field, value }: Entry): string {
  switch (field) {
    case "removed":
      return keyOfRemoved(value);
    case "streams":
      return keyOfStream(value.id);
    case "lessons":
      return keyOfUser(field, value.userId, value.lessonId);
    case "courses":
      return keyOfUser(field, value.userId, value.courseId);
    case "progress":
    case "present":
      return keyOfUser(field, value.userId, value.fileId);
  }
}

function keyOfRemoved(removed: Removed): string {
  switch (removed.kind) {
    case "present":
      return keyOfUser("present", removed.userId, removed.fileId);
    case "progress":
      return keyOfUser("progress", removed.userId, removed.fileId);
    case "lesson":
      return keyOfUser("lessons", removed.userId, removed.lessonId);
    case "course":
      return keyOfUser("courses", removed.userId, removed.courseId);
    case "stream":
      return keyOfStream(removed.streamId);
  }
}

function keyOfStream(streamId: string): string {
  return `streams\u0000${streamId}`;
}

/** The value as JSON. */
export function textOf(entry: Entry): string {
  if (entry.field === "present") return JSON.stringify(toPresent(entry));
  entry.text ??= JSON.stringify(entry.value);
  return entry.text;
}

function bytesOf(entry: Entry): number {
  if (entry.field === "present") return Buffer.byteLength(textOf(entry));
  entry.bytes ??= Buffer.byteLength(textOf(entry));
  return entry.bytes;
}

function toPresent({ value, seenAt }: Entry & { field: "present" }): Present {
  return { ...value, ageMs: Math.round(performance.now() - seenAt) };
}

/** The entries as lists of an update; empty lists are left out. */
export function toLists(entries: readonly Entry[]): Lists {
  const lists: Record<string, unknown[]> = {};
  for (const entry of entries) {
    const { field } = entry;
    const value = field === "present" ? toPresent(entry) : entry.value;
    const list = lists[field];
    if (list === undefined) lists[field] = [value];
    else list.push(value);
  }
  return lists as Lists;
}
