import type { CourseTree } from "../../src/protocol/course.ts";

/*
 * The courses that are watched: long files, so that steady watching changes the union for the whole run and completes
 * nothing.
 */

export const INSTRUCTOR_ID = "loadtest-instructor";
export const FILES_PER_LESSON = 4;
/** 100 hours. */
export const DURATION_SECONDS = 360_000;

export function toCourseId(course: number): string {
  return `loadtest-course-${course}`;
}

export function toFileId(course: number, file: number): string {
  return `${toCourseId(course)}-file-${file}`;
}

export function toLessonId(course: number, file: number): string {
  return `${toCourseId(course)}-lesson-${Math.floor(file / FILES_PER_LESSON)}`;
}

/** Ids as long as Firebase makes them. */
export function toUserId(index: number): string {
  return `loadtest-user-${String(index).padStart(14, "0")}`;
}

/** Which course and file a user watches: neighbours have different courses, the users of a course different files. */
export function watchedBy(user: number, shape: { courses: number; files: number }): { course: number; file: number } {
  return { course: user % shape.courses, file: Math.floor(user / shape.courses) % shape.files };
}

/** All files of all courses, as a peer's own catalogue. */
export function catalogueFiles(shape: { courses: number; files: number }): {
  id: string;
  lessonId: string;
  courseId: string;
  durationSeconds: number;
}[] {
  const courses = Array.from({ length: shape.courses }, (_, course) =>
    Array.from({ length: shape.files }, (_, file) => ({
      id: toFileId(course, file),
      lessonId: toLessonId(course, file),
      courseId: toCourseId(course),
      durationSeconds: DURATION_SECONDS,
    })),
  );
  return courses.flat();
}

export function makeCourseTree(course: number, files: number): CourseTree {
  const lessons = new Map<string, CourseTree["lessons"][number]>();
  for (let i = 0; i < files; i++) {
    const id = toLessonId(course, i);
    const lesson = lessons.get(id) ?? { id, title: id, files: [] };
    lesson.files.push({ id: toFileId(course, i), title: `File ${i}`, durationSeconds: DURATION_SECONDS });
    lessons.set(id, lesson);
  }
  return { title: toCourseId(course), instructorId: INSTRUCTOR_ID, lessons: [...lessons.values()] };
}
