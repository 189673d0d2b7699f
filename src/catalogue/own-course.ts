import { AppError } from "../errors.ts";
import type { CourseTree } from "../protocol/course.ts";
import type { CourseFacts, Editor } from "./catalogue.ts";

/*
 * Who may change a course. A change is decided by the row that is read under the lock of that change: before it, somebody
 * else may make the course or hand it over.
 */

type Owned = Pick<CourseFacts, "instructorId">;

/** Whether the course is the caller's own: every course is an admin's, none is a learner's. */
export function isOwnCourse(caller: Editor, { instructorId }: Owned): boolean {
  return caller.role === "admin" || (caller.role === "instructor" && instructorId === caller.userId);
}

/** @throws AppError `forbidden` */
export function assertMayEdit(editor: Editor): void {
  if (editor.role === "learner") throw new AppError("forbidden", "Only instructors and admins may do this.");
}

/** @throws AppError `forbidden` */
export function assertOwnCourse(editor: Editor, course: Owned): void {
  assertMayEdit(editor);
  if (!isOwnCourse(editor, course)) throw new AppError("forbidden", "The course is another instructor's.");
}

/**
 * The tree with its instructor. `stored` is the course as it is now; null if the editor makes it.
 * @throws AppError `forbidden` if the editor may not put the course, or not for this instructor
 */
export function withOwner(editor: Editor, tree: CourseTree, stored: Owned | null): CourseTree {
  if (stored !== null) {
    assertOwnCourse(editor, stored);
    return { ...tree, instructorId: tree.instructorId === undefined ? stored.instructorId : tree.instructorId };
  }
  assertMayEdit(editor);
  if (editor.role === "admin") return { ...tree, instructorId: tree.instructorId ?? null };
  if (tree.instructorId != null && tree.instructorId !== editor.userId) {
    throw new AppError("forbidden", "A course that an instructor makes is its own; it may be handed over afterwards.");
  }
  return { ...tree, instructorId: editor.userId };
}
