import type { Caller } from "../../auth/caller.ts";
import type { Catalogue, CourseFacts } from "../../catalogue/catalogue.ts";
import { assertMayEdit, assertOwnCourse } from "../../catalogue/own-course.ts";
import { AppError } from "../../errors.ts";

/**
 * Reads a course that must be the caller's own.
 * @throws AppError `forbidden`, `not_found`
 */
export async function requireOwnCourse(catalogue: Catalogue, caller: Caller, courseId: string): Promise<CourseFacts> {
  assertMayEdit(caller);
  const course = await catalogue.findCourse(courseId);
  if (course === null) throw new AppError("not_found", "There is no course of this id.");
  assertOwnCourse(caller, course);
  return course;
}
