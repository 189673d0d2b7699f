import type { Caller } from "../auth/caller.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import { AppError } from "../errors.ts";
import type { Topic } from "../protocol/dashboard.ts";

/*
 * Who may watch what: a learner its own topic and the streams, an instructor its own courses and what is in them, an
 * admin all. To others a course that is not theirs looks like one that does not exist.
 */

type CatalogueFacts = Pick<Catalogue, "findCourse" | "findLesson" | "findFile">;

/** What rights are decided by. */
export interface TopicFacts extends CatalogueFacts {
  hasStream(streamId: string): Promise<boolean>;
}

/**
 * The course whose changes the topic shows; null where it may be any.
 * @throws AppError `forbidden`; `not_found` for a stream, or an admin's course, that is not there
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

async function authorizeCourse(caller: Caller, courseId: string | null, catalogue: CatalogueFacts): Promise<string> {
  if (caller.role === "learner") throw forbidden();
  const course = courseId === null ? null : await catalogue.findCourse(courseId);
  if (caller.role === "admin") {
    if (course === null) throw new AppError("not_found", "The catalogue has nothing of this id.");
    return course.courseId;
  }
  if (course?.instructorId !== caller.userId) throw forbidden();
  return course.courseId;
}

function forbidden(): AppError {
  return new AppError(
    "forbidden",
    "This topic is not yours: a learner watches its own, an instructor its own courses.",
  );
}
