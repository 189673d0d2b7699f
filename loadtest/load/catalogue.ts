import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import type { CourseTree } from "../../src/protocol/course.ts";
import type { Role } from "../../src/protocol/roles.ts";

/*
 * Names courses, files and users, and says which user watches which file. The files are long, so every heartbeat of a run
 * adds to the watched ranges and completes nothing.
 */

export const INSTRUCTOR_ID = "loadtest-instructor";
export const FILES_PER_LESSON = 4;
/** 100 hours. */
export const DURATION_SECONDS = 360_000;
const TOKEN_SECONDS = 7200;

/** Numbers of courses, and of files in each. */
export interface Shape {
  courses: number;
  files: number;
}

export interface CatalogueFile {
  id: string;
  lessonId: string;
  courseId: string;
}

export function toCourseId(course: number): string {
  return `loadtest-course-${course}`;
}

export function toFileId(course: number, file: number): string {
  return `${toCourseId(course)}-file-${file}`;
}

export function toLessonId(course: number, file: number): string {
  return `${toCourseId(course)}-lesson-${Math.floor(file / FILES_PER_LESSON)}`;
}

/** The ids are as long as those of Firebase. */
export function toUserId(index: number): string {
  return `loadtest-user-${String(index).padStart(14, "0")}`;
}

/** @returns a function that mints tokens for the servers with this secret */
export function createMint(secret: string): (userId: string, role?: Role) => Promise<string> {
  const tokens = createBuiltinTokens({ secret, ttlSeconds: TOKEN_SECONDS });
  return async (userId, role = "learner") => (await tokens.mint({ userId, role })).token;
}

/** Users with neighbouring numbers watch different courses. */
export function watchedBy(user: number, { courses, files }: Shape): { course: number; file: number } {
  return { course: user % courses, file: Math.floor(user / courses) % files };
}

/** All files, for a contender with its own catalogue. */
export function catalogueFiles({ courses, files }: Shape): CatalogueFile[] {
  return Array.from({ length: courses * files }, (_, i) => {
    const [course, file] = [Math.floor(i / files), i % files];
    return { id: toFileId(course, file), lessonId: toLessonId(course, file), courseId: toCourseId(course) };
  });
}

export function makeCourseTree(course: number, files: number): CourseTree {
  const lessons = new Map<string, CourseTree["lessons"][number]>();
  for (let file = 0; file < files; file++) {
    const id = toLessonId(course, file);
    const lesson = lessons.get(id) ?? { id, title: id, files: [] };
    lesson.files.push({ id: toFileId(course, file), title: `File ${file}`, durationSeconds: DURATION_SECONDS });
    lessons.set(id, lesson);
  }
  return { title: toCourseId(course), instructorId: INSTRUCTOR_ID, lessons: [...lessons.values()] };
}
