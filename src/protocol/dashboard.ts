import { z } from "zod";
import { Id } from "./ids.ts";

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

export type { Present, Removed, TopicTotals, Update } from "./wire.ts";
