import type { Present, Removed, Update } from "../protocol/dashboard.ts";
import type { CourseProgressRow, FileProgress, FileProgressRow, LessonProgress } from "../protocol/progress.ts";
import type { Stream } from "../protocol/stream.ts";

/*
 * What waits for the next frame: the newest state per key, and nothing else. A frame takes as much as fits; the rest
 * waits for the one after.
 */

/** What the entries of a frame may take; the rest of its 64 KB is for what is around them. */
export const MAX_FRAME_BYTES = 60_000;

/** `text`: the value as JSON, once somebody needed it. An entry is shared by rooms, and by members served alone. */
export type Entry = { text?: string } & (
  | { field: "progress"; value: FileProgress | FileProgressRow }
  | { field: "lessons"; value: LessonProgress }
  | { field: "courses"; value: CourseProgressRow }
  | { field: "streams"; value: Stream }
  /** `seenAt`: when the position was seen, by the process's monotonic clock. How long ago that is, a frame says anew. */
  | { field: "present"; value: Present; seenAt: number }
  | { field: "removed"; value: Removed }
);

type Lists = Pick<Update, "progress" | "lessons" | "courses" | "streams" | "present" | "removed">;

/** What one frame takes. */
export interface Batch {
  entries: Entry[];
  bytes: number;
}

export class Backlog {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  /** A later state of a key takes the place of an earlier one. */
  put(entry: Entry): void {
    this.#entries.set(keyOf(entry), entry);
  }

  clear(): void {
    this.#entries.clear();
  }

  /** Everything that waits, oldest first. */
  entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  /** Takes what fits into one frame, oldest first; one entry at least. */
  take(): Batch {
    const entries: Entry[] = [];
    let bytes = 0;
    for (const [key, entry] of this.#entries) {
      const size = Buffer.byteLength(textOf(entry)) + 1;
      if (bytes > 0 && bytes + size > MAX_FRAME_BYTES) break;
      entries.push(entry);
      this.#entries.delete(key);
      bytes += size;
    }
    return { entries, bytes };
  }
}

/** A removal takes the place of the state it removes, and the other way round. */
function keyOf({ field, value }: Entry): string {
  if (field === "removed") {
    switch (value.kind) {
      case "present":
        return `present\u0000${value.userId}\u0000${value.fileId}`;
      case "progress":
        return `progress\u0000${value.userId}\u0000${value.fileId}`;
      case "lesson":
        return `lessons\u0000${value.userId}\u0000${value.lessonId}`;
      case "course":
        return `courses\u0000${value.userId}\u0000${value.courseId}`;
      case "stream":
        return `streams\u0000${value.streamId}`;
    }
  }
  if (field === "streams") return `streams\u0000${value.id}`;
  const id = field === "lessons" ? value.lessonId : field === "courses" ? value.courseId : value.fileId;
  return `${field}\u0000${value.userId}\u0000${id}`;
}

/** The value as JSON. How long ago a viewer was seen is said anew each time. */
export function textOf(entry: Entry): string {
  if (entry.field === "present") return JSON.stringify(toPresent(entry));
  entry.text ??= JSON.stringify(entry.value);
  return entry.text;
}

function toPresent({ value, seenAt }: Entry & { field: "present" }): Present {
  return { ...value, ageMs: Math.round(performance.now() - seenAt) };
}

/** The lists of an update; empty ones are left out. */
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
