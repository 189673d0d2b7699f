import type { Topic } from "../../protocol/dashboard.ts";
import type { FileProgress, FileProgressRow } from "../../protocol/progress.ts";
import type { ChangedKey, ChangedStream } from "../bus/bus.ts";
import { type Entry, keyOfUser } from "./backlog.ts";
import type { Pair, TopicSource } from "./topic-source.ts";
import { showsCourses, showsLessons, showsRanges } from "./topic-view.ts";

/*
 * The rows behind changed keys: each is read once for all topics that show it, in one query a table, and becomes one
 * entry that these topics share.
 */

/** A row that some topic wants. */
interface Slot {
  /** The row's key in a backlog. */
  readonly key: string;
  readonly userId: string;
  readonly id: string;
  /** Null while the row is not read, and where there is none. */
  entry: Entry | null;
}

/** A file's row: topics of one learner show it with its ranges, topics of many without. */
interface FileSlot extends Slot {
  wantsRanges: boolean;
  withRanges: Entry | null;
}

/** The rows that a topic shows of one change. */
interface WantedChange {
  readonly key: ChangedKey;
  readonly showsRanges: boolean;
  readonly file: FileSlot;
  readonly lesson: Slot | null;
  readonly course: Slot | null;
}

export class ChangedRows {
  readonly #files = new Map<string, FileSlot>();
  readonly #lessons = new Map<string, Slot>();
  readonly #courses = new Map<string, Slot>();
  readonly #streams = new Map<string, Entry | null>();

  /** Wants everything that the topic shows of a change; `toEntries` tells it after `read`. */
  want(topic: Topic, key: ChangedKey): WantedChange {
    const { userId, fileId, lessonId, courseId } = key;
    const file = this.#wantFile(userId, fileId);
    if (showsRanges(topic)) file.wantsRanges = true;
    return {
      key,
      showsRanges: showsRanges(topic),
      file,
      lesson: showsLessons(topic) ? want(this.#lessons, "lessons", userId, lessonId) : null,
      course: showsCourses(topic) ? want(this.#courses, "courses", userId, courseId) : null,
    };
  }

  wantStream({ streamId }: ChangedStream): void {
    this.#streams.set(streamId, null);
  }

  async read(source: TopicSource): Promise<void> {
    const files = [...this.#files.values()];
    const [fullRows, fileRows, lessons, courses, streams] = await Promise.all([
      source.files(files.filter(({ wantsRanges }) => wantsRanges).map(toPair)),
      source.fileRows(files.filter(({ wantsRanges }) => !wantsRanges).map(toPair)),
      source.lessons([...this.#lessons.values()].map(toPair)),
      source.courses([...this.#courses.values()].map(toPair)),
      source.streams([...this.#streams.keys()]),
    ]);
    for (const row of fullRows) this.#fillFile(row, row);
    for (const row of fileRows) this.#fillFile(row, null);
    for (const value of lessons) {
      const slot = this.#lessons.get(keyOfUser("lessons", value.userId, value.lessonId));
      if (slot !== undefined) slot.entry = { field: "lessons", value, key: slot.key };
    }
    for (const value of courses) {
      const slot = this.#courses.get(keyOfUser("courses", value.userId, value.courseId));
      if (slot !== undefined) slot.entry = { field: "courses", value, key: slot.key };
    }
    for (const value of streams) this.#streams.set(value.id, { field: "streams", value });
  }

  entryOfStream({ streamId, version }: ChangedStream): Entry {
    return this.#streams.get(streamId) ?? { field: "removed", value: { kind: "stream", streamId, version } };
  }

  #wantFile(userId: string, fileId: string): FileSlot {
    const key = keyOfUser("progress", userId, fileId);
    const known = this.#files.get(key);
    if (known !== undefined) return known;
    const slot: FileSlot = { key, userId, id: fileId, entry: null, wantsRanges: false, withRanges: null };
    this.#files.set(key, slot);
    return slot;
  }

  #fillFile(row: FileProgressRow, full: FileProgress | null): void {
    const slot = this.#files.get(keyOfUser("progress", row.userId, row.fileId));
    if (slot === undefined) return;
    const { key } = slot;
    slot.entry = { field: "progress", value: full === null ? row : withoutRanges(full), key };
    if (full !== null) slot.withRanges = { field: "progress", value: full, key };
  }
}

function want(slots: Map<string, Slot>, field: "lessons" | "courses", userId: string, id: string): Slot {
  const key = keyOfUser(field, userId, id);
  const known = slots.get(key);
  if (known !== undefined) return known;
  const slot: Slot = { key, userId, id, entry: null };
  slots.set(key, slot);
  return slot;
}

/** What a change means for a topic: the file's row, and the sums that follow from it. A row that is not there was removed. */
export function toEntries({ key, showsRanges, file, lesson, course }: WantedChange): Entry[] {
  const { userId, fileId, lessonId, courseId, version } = key;
  const entries: Entry[] = [
    (showsRanges ? file.withRanges : file.entry) ?? {
      field: "removed",
      value: { kind: "progress", userId, fileId, version },
    },
  ];
  if (lesson !== null)
    entries.push(lesson.entry ?? { field: "removed", value: { kind: "lesson", userId, lessonId, version } });
  if (course !== null)
    entries.push(course.entry ?? { field: "removed", value: { kind: "course", userId, courseId, version } });
  return entries;
}

function toPair({ userId, id }: Slot): Pair {
  return [userId, id];
}

function withoutRanges(file: FileProgress): FileProgressRow {
  const { watched: _ranges, ...row } = file;
  return row;
}
