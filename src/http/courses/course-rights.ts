import type { Caller } from "../../auth/caller.ts";
import type { Catalogue, CourseFacts } from "../../catalogue/catalogue.ts";
import { isOwnCourse } from "../../catalogue/own-course.ts";
import { AppError } from "../../errors.ts";

/**
 * Reads a course that must be the caller's own.
 * @throws AppError `forbidden`, `not_found`
 */
export async function requireOwnCourse(catalogue: Catalogue, caller: Caller, courseId: string): Promise<CourseFacts> {
  if (caller.role === "learner") throw new AppError("forbidden", "Only instructors and admins may do this.");
  const course = await catalogue.findCourse(courseId);
  if (course === null) throw new AppError("not_found", "There is no course of this id.");
  assertOwnCourse(caller, course);
  return course;
}

/** @throws AppError `forbidden` */
export function assertOwnCourse(caller: Caller, course: CourseFacts): void {
  if (!isOwnCourse(caller, course)) throw new AppError("forbidden", "The course is another instructor's.");
}
