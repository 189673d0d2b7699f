import { z } from "zod";
import type { PlayerState } from "./heartbeat.ts";
import { Id } from "./ids.ts";
import type { CourseProgressRow, FileProgress, FileProgressRow, LessonProgress } from "./progress.ts";
import type { Stream } from "./stream.ts";

/** A topic that a dashboard can watch. */
export type Topic =
  | { kind: "user"; userId: string }
  | { kind: "course"; courseId: string }
  | { kind: "learner"; courseId: string; userId: string }
  | { kind: "lesson"; lessonId: string }
  | { kind: "file"; fileId: string }
  | { kind: "stream"; streamId: string }
  | { kind: "streams" };

export const Subscribe = z.object({ topic: z.string().max(600) });

/** The forms a topic's name may take, for error messages. */
export const TOPIC_FORMS =
  "user:<id>, course:<id>, course:<id>/user:<id>, lesson:<id>, file:<id>, stream:<id> or streams";

/**
 * Reads the name of a topic. An id may itself contain `/user:`, so the last one separates the course from the learner.
 * @returns null where the name is no topic; `TOPIC_FORMS` lists the forms
 */
export function parseTopic(name: string): Topic | null {
  if (name === "streams") return { kind: "streams" };
  const colon = name.indexOf(":");
  const kind = name.slice(0, colon);
  const id = name.slice(colon + 1);
  if (colon < 0 || !Id.safeParse(id).success) return kind === "course" ? parseLearnerTopic(id) : null;
  switch (kind) {
    case "user":
      return { kind, userId: id };
    case "course":
      return parseLearnerTopic(id) ?? { kind, courseId: id };
    case "lesson":
      return { kind, lessonId: id };
    case "file":
      return { kind, fileId: id };
    case "stream":
      return { kind, streamId: id };
    default:
      return null;
  }
}

function parseLearnerTopic(rest: string): Topic | null {
  const slash = rest.lastIndexOf("/user:");
  if (slash < 0) return null;
  const courseId = rest.slice(0, slash);
  const userId = rest.slice(slash + "/user:".length);
  if (!Id.safeParse(courseId).success || !Id.safeParse(userId).success) return null;
  return { kind: "learner", courseId, userId };
}

/** A player that is present, at the position that it reported last. */
export interface Present {
  userId: string;
  fileId: string;
  position: number;
  state: PlayerState;
  rate: number;
  /** How long ago the position was reported, when the frame was built. */
  ageMs: number;
}

/** A row or a viewer that is gone. A viewer that left has `version` 0, because presence has no versions. */
export type Removed =
  | { kind: "present"; userId: string; fileId: string; version: number }
  | { kind: "progress"; userId: string; fileId: string; version: number }
  | { kind: "lesson"; userId: string; lessonId: string; version: number }
  | { kind: "course"; userId: string; courseId: string; version: number }
  | { kind: "stream"; streamId: string; version: number };

/** The sums over all learners of a course, lesson or file. */
export interface TopicTotals {
  learners: number;
  completed: number;
  /** The mean over the learners who have begun, 0 to 100. */
  percentage: number;
}

/** A frame or a snapshot of a topic: states with versions, never deltas. Keep the highest version per key. */
export interface Update {
  topic: string;
  /**
   * Grows with every frame of a topic on a connection, not always by one. A client orders frames by it. Numbers of two
   * connections say nothing about each other.
   */
  n: number;
  /** ISO 8601, the server's clock. It is for people to read: somebody may set that clock. */
  at: string;
  progress?: (FileProgress | FileProgressRow)[];
  lessons?: LessonProgress[];
  courses?: CourseProgressRow[];
  streams?: Stream[];
  present?: Present[];
  /** How many players are present. */
  viewers?: number;
  removed?: Removed[];
  totals?: TopicTotals;
  /** Set if the frame begins the state anew: forget everything that you hold of the topic. */
  snapshot?: true;
  /** `true`: changes may be missing from now on, and the shown state may be old. `false`: they come again; a snapshot follows. */
  behind?: boolean;
}
