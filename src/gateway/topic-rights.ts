import type { Caller } from "../auth/caller.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import { isOwnCourse } from "../catalogue/own-course.ts";
import { AppError } from "../errors.ts";
import type { Topic } from "../protocol/dashboard.ts";

/*
 * Which topics a caller may watch. A learner: its own topic and the streams. An instructor: also its own courses, their
 * lessons, files and learners. An admin: all. An instructor cannot tell another's course from one that does not exist.
 */

type CatalogueFacts = Pick<Catalogue, "findCourse" | "findLesson" | "findFile">;

/** The facts that rights are decided by. */
export interface TopicFacts extends CatalogueFacts {
  hasStream(streamId: string): Promise<boolean>;
}

/**
 * Lets the caller watch the topic, or throws.
 * @returns the course whose changes the topic shows; null for a topic that is of no one course
 * @throws AppError `forbidden`; `not_found` for a stream that does not exist, and to an admin for a course
 */
export async function authorizeTopic(caller: Caller, topic: Topic, facts: TopicFacts): Promise<string | null> {
  switch (topic.kind) {
    case "streams":
      return null;
    case "stream":
      if (await facts.hasStream(topic.streamId)) return null;
      throw new AppError("not_found", "There is no such stream.");
    case "user":
      if (caller.role !== "admin" && caller.userId !== topic.userId) throw forbidden();
      return null;
    case "course":
    case "learner":
      return authorizeCourse(caller, topic.courseId, facts);
    case "lesson":
      return authorizeCourse(caller, (await facts.findLesson(topic.lessonId))?.courseId ?? null, facts);
    case "file":
      return authorizeCourse(caller, (await facts.findFile(topic.fileId))?.courseId ?? null, facts);
  }
}

/** Whether the catalogue does not have what the topic shows, or no longer. */
export async function isGone(topic: Topic, facts: CatalogueFacts): Promise<boolean> {
  switch (topic.kind) {
    case "course":
    case "learner":
      return (await facts.findCourse(topic.courseId)) === null;
    case "lesson":
      return (await facts.findLesson(topic.lessonId)) === null;
    case "file":
      return (await facts.findFile(topic.fileId)) === null;
    case "user":
    case "stream":
    case "streams":
      return false;
  }
}

async function authorizeCourse(caller: Caller, courseId: string | null, catalogue: CatalogueFacts): Promise<string> {
  if (caller.role === "learner") throw forbidden();
  const course = courseId === null ? null : await catalogue.findCourse(courseId);
  if (course !== null && isOwnCourse(caller, course)) return course.courseId;
  throw caller.role === "admin" ? new AppError("not_found", "The catalogue has nothing of this id.") : forbidden();
}

function forbidden(): AppError {
  return new AppError(
    "forbidden",
    "This topic is not yours: a learner watches its own, an instructor its own courses.",
  );
}
