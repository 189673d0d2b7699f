import type { Topic, TopicTotals, Update } from "../../protocol/dashboard.ts";
import { channels } from "../bus/channels.ts";
import type { TopicSource } from "./topic-source.ts";

/*
 * What each kind of topic shows: in which channels its changes are told, which rows it carries, which sums it has.
 */

/** The channels in which a topic's changes are told. `courseId` is the topic's course; null for a user's own topic. */
export function channelsOf(topic: Topic, courseId: string | null): string[] {
  if (isOfStreams(topic)) return [channels.streams];
  if (topic.kind === "user") return [channels.user(topic.userId), channels.users];
  return courseId === null ? [] : [channels.course(courseId)];
}

/** Whether the topic shows streams, and no progress. */
export function isOfStreams({ kind }: Topic): boolean {
  return kind === "stream" || kind === "streams";
}

/** Topics of one learner carry the watched ranges of files. */
export function showsRanges({ kind }: Topic): boolean {
  return kind === "user" || kind === "learner";
}

export function showsLessons({ kind }: Topic): boolean {
  return kind === "user" || kind === "learner" || kind === "lesson";
}

export function showsCourses({ kind }: Topic): boolean {
  return kind === "user" || kind === "learner" || kind === "course";
}

/** The kinds of topics that have sums over learners. */
export const KINDS_WITH_TOTALS = ["course", "lesson", "file"] as const satisfies readonly Topic["kind"][];

export function hasTotals({ kind }: Topic): boolean {
  return KINDS_WITH_TOTALS.some((one) => one === kind);
}

/** The rows of a topic's snapshot. */
export type SnapshotRows = Pick<Update, "progress" | "lessons" | "courses" | "streams">;

export async function readSnapshotRows(topic: Topic, source: TopicSource): Promise<SnapshotRows> {
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
      return { progress: await source.latestInFile(topic.fileId) };
    case "stream":
      return { streams: await source.streams([topic.streamId]) };
    case "streams":
      return { streams: await source.latestStreams() };
  }
}

/** What a topic says of learners and viewers when it has none. */
export function toEmptyRest(topic: Topic): Pick<Update, "viewers" | "totals"> {
  return { ...(!isOfStreams(topic) && { viewers: 0 }), ...(hasTotals(topic) && { totals: NOBODY }) };
}

const NOBODY: TopicTotals = { learners: 0, completed: 0, percentage: 0 };

/** The sums over learners of topics of one kind, by the topic's name, in one query. */
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
  throw new TypeError(`A topic of kind ${topic.kind} has no sums over learners.`);
}
