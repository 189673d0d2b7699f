import type { CourseTree } from "../src/protocol/course.ts";

/*
 * The course that is watched: long files, so that steady watching changes the union for the whole run and completes
 * nothing.
 */

export const COURSE_ID = "loadtest-course";
export const INSTRUCTOR_ID = "loadtest-instructor";
export const FILES_PER_LESSON = 4;
/** 100 hours. */
export const DURATION_SECONDS = 360_000;

export function toFileId(index: number): string {
  return `loadtest-file-${index}`;
}

export function toLessonId(fileIndex: number): string {
  return `loadtest-lesson-${Math.floor(fileIndex / FILES_PER_LESSON)}`;
}

/** Ids as long as Firebase makes them. */
export function toUserId(index: number): string {
  return `loadtest-user-${String(index).padStart(14, "0")}`;
}

export function makeCourseTree(files: number): CourseTree {
  const lessons = new Map<string, CourseTree["lessons"][number]>();
  for (let i = 0; i < files; i++) {
    const id = toLessonId(i);
    const lesson = lessons.get(id) ?? { id, title: id, files: [] };
    lesson.files.push({ id: toFileId(i), title: `File ${i}`, durationSeconds: DURATION_SECONDS });
    lessons.set(id, lesson);
  }
  return { title: "Load test", instructorId: INSTRUCTOR_ID, lessons: [...lessons.values()] };
}
