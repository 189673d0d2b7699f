import type { Topic, TopicTotals, Update } from "../protocol/dashboard.ts";
import type { FileProgress, FileProgressRow } from "../protocol/progress.ts";
import type { Entry } from "./backlog.ts";
import { type ChangedKey, type ChangedStream, channels } from "./bus.ts";
import type { TopicSource } from "./topic-source.ts";

/*
 * What each kind of topic shows: which changes concern it, which rows it carries, who is present in it.
 */

/** Rows of one frame, read for all rooms together. */
export interface Rows {
  files: Map<string, FileEntries>;
  lessons: Map<string, Entry & { field: "lessons" }>;
  courses: Map<string, Entry & { field: "courses" }>;
  streams: Map<string, Entry & { field: "streams" }>;
}

/** A file's row, as topics of one learner show it, and as those of many do. Made once, for all topics that show it. */
interface FileEntries {
  own: Entry;
  shared: Entry;
}

export function pairKey(userId: string, id: string): string {
  return `${userId}\u0000${id}`;
}

/** Where a topic's changes are told; `courseId` is the course they come from, null where it may be any. */
export function channelsOf(topic: Topic, courseId: string | null): string[] {
  if (isOfStreams(topic)) return [channels.streams];
  if (topic.kind === "user") return [channels.user(topic.userId), channels.users];
  return courseId === null ? [] : [channels.course(courseId)];
}

/** Whether the topic shows streams, and no progress. */
export function isOfStreams({ kind }: Topic): boolean {
  return kind === "stream" || kind === "streams";
}

/** Which sums a topic shows beside the rows of files: those of lessons, those of courses. */
function showsLessons({ kind }: Topic): boolean {
  return kind === "user" || kind === "learner" || kind === "lesson";
}
function showsCourses({ kind }: Topic): boolean {
  return kind === "user" || kind === "learner" || kind === "course";
}

/** What a change means for a topic: the file's row, and the sums that follow from it. */
export function entriesOf(topic: Topic, key: ChangedKey, rows: Rows): Entry[] {
  const { userId, fileId, lessonId, courseId, version } = key;
  const entries: Entry[] = [];
  const file = rows.files.get(pairKey(userId, fileId));
  entries.push(
    file === undefined
      ? { field: "removed", value: { kind: "progress", userId, fileId, version } }
      : isShared(topic)
        ? file.shared
        : file.own,
  );
  if (showsLessons(topic)) {
    const lesson = rows.lessons.get(pairKey(userId, lessonId));
    entries.push(lesson ?? { field: "removed", value: { kind: "lesson", userId, lessonId, version } });
  }
  if (showsCourses(topic)) {
    const course = rows.courses.get(pairKey(userId, courseId));
    entries.push(course ?? { field: "removed", value: { kind: "course", userId, courseId, version } });
  }
  return entries;
}

export function entryOfStream({ streamId, version }: ChangedStream, rows: Rows): Entry {
  return rows.streams.get(streamId) ?? { field: "removed", value: { kind: "stream", streamId, version } };
}

/** Topics of many learners carry no ranges. */
function isShared(topic: Topic): boolean {
  return topic.kind === "course" || topic.kind === "lesson" || topic.kind === "file";
}

function withoutRanges(file: FileProgress): FileProgressRow {
  const { watched: _ranges, ...row } = file;
  return row;
}

function toFileEntries(row: FileProgress): FileEntries {
  return { own: { field: "progress", value: row }, shared: { field: "progress", value: withoutRanges(row) } };
}

/** All that a snapshot carries but presence. */
export async function readSnapshot(
  topic: Topic,
  source: TopicSource,
): Promise<Pick<Update, "progress" | "lessons" | "courses" | "streams">> {
  switch (topic.kind) {
    case "user":
    case "learner": {
      const own = await source.ofUser(topic.userId, topic.kind === "learner" ? topic.courseId : null);
      return { progress: own.files, lessons: own.lessons, courses: own.courses };
    }
    case "course":
      return { courses: await source.latestInCourse(topic.courseId) };
    case "lesson":
      return { lessons: await source.latestInLesson(topic.lessonId) };
    case "file":
      return { progress: (await source.latestInFile(topic.fileId)).map(withoutRanges) };
    case "stream":
      return { streams: await source.streams([topic.streamId]) };
    case "streams":
      return { streams: await source.latestStreams() };
  }
}

/** Whether there are sums over all learners. */
export function hasTotals({ kind }: Topic): boolean {
  return kind === "course" || kind === "lesson" || kind === "file";
}

const NOBODY: TopicTotals = { learners: 0, completed: 0, percentage: 0 };

/** The sums over all learners, by the topic's name: of topics of one kind, in one query. */
export async function readTotals(
  topics: readonly { name: string; topic: Topic }[],
  source: TopicSource,
): Promise<Map<string, TopicTotals>> {
  const names = new Map(topics.map(({ name, topic }) => [idWithTotals(topic), name]));
  const ids = [...names.keys()];
  const kind = topics[0]?.topic.kind;
  const read = kind === "course" ? source.courseTotals : kind === "lesson" ? source.lessonTotals : source.fileTotals;
  const totals = await read(ids);
  return new Map([...names].map(([id, name]) => [name, totals.get(id) ?? NOBODY]));
}

function idWithTotals(topic: Topic): string {
  if (topic.kind === "course") return topic.courseId;
  if (topic.kind === "lesson") return topic.lessonId;
  if (topic.kind === "file") return topic.fileId;
  throw new TypeError(`a topic of kind ${topic.kind} has no sums over learners`);
}

/** Changes that a topic is to show. */
export interface Demand {
  topic: Topic;
  changes: readonly ChangedKey[];
  streamChanges: readonly ChangedStream[];
}

/** The rows behind changed keys, in one query a table for all topics together. */
export async function readRows(demands: readonly Demand[], source: TopicSource): Promise<Rows> {
  const pairs = (shows: (topic: Topic) => boolean, id: (key: ChangedKey) => string) => {
    const keys = demands.filter(({ topic }) => shows(topic)).flatMap(({ changes }) => changes);
    return [...new Map(keys.map((key) => [pairKey(key.userId, id(key)), [key.userId, id(key)] as const])).values()];
  };
  const streamIds = new Set(demands.flatMap(({ streamChanges }) => streamChanges.map(({ streamId }) => streamId)));
  const [files, lessons, courses, streams] = await Promise.all([
    source.files(
      pairs(
        () => true,
        (key) => key.fileId,
      ),
    ),
    source.lessons(pairs(showsLessons, (key) => key.lessonId)),
    source.courses(pairs(showsCourses, (key) => key.courseId)),
    source.streams([...streamIds]),
  ]);
  return {
    files: new Map(files.map((row) => [pairKey(row.userId, row.fileId), toFileEntries(row)])),
    lessons: new Map(lessons.map((row) => [pairKey(row.userId, row.lessonId), { field: "lessons", value: row }])),
    courses: new Map(courses.map((row) => [pairKey(row.userId, row.courseId), { field: "courses", value: row }])),
    streams: new Map(streams.map((row) => [row.id, { field: "streams", value: row }])),
  };
}
