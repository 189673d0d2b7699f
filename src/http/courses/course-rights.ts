import type { Caller } from "../../auth/caller.ts";
import type { Catalogue, CourseFacts } from "../../catalogue/catalogue.ts";
import { AppError } from "../../errors.ts";

/**
 * The course, where the caller may act on it: an admin on every one, an instructor on its own.
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
  if (caller.role === "admin") return;
  if (caller.role === "instructor" && course.instructorId === caller.userId) return;
  throw new AppError("forbidden", "The course is another instructor's.");
}
