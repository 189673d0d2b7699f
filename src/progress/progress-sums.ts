import type { CatalogueFile, StoredRow } from "./merge-beat.ts";

/*
 * What the changes of a batch add to the sums of lessons and courses: one delta a user and lesson, one a user and course,
 * in the order in which the users come.
 */

export interface Sum {
  userId: string;
  /** Of the lesson, or the course. */
  id: string;
  courseId: string;
  started: number;
  completed: number;
  contributionMs: number;
  watchedMs: number;
}

export interface Sums {
  lessons: Sum[];
  /** Null where they are the same as those of the lessons: no user has two lessons of one course here. */
  courses: Sum[] | null;
}

interface Changed {
  userId: string;
  file: CatalogueFile;
  old: StoredRow | null;
  next: StoredRow;
}

export function sumUp(changes: readonly Changed[]): Sums {
  const users = new Map<string, { lessons: Sum[]; courses: Sum[] }>();
  for (const { userId, file, old, next } of changes) {
    let sums = users.get(userId);
    if (sums === undefined) {
      sums = { lessons: [], courses: [] };
      users.set(userId, sums);
    }
    const course = sumOf(sums.courses, { userId, id: file.courseId, courseId: file.courseId });
    const lesson = sumOf(sums.lessons, { userId, id: next.lessonId, courseId: file.courseId });
    add(course, next, 1);
    add(lesson, next, 1);
    if (old === null) continue;
    add(course, old, -1);
    const { lessonId } = old;
    const before = lessonId === next.lessonId ? lesson : sumOf(sums.lessons, { ...course, id: lessonId });
    add(before, old, -1);
  }
  const lessons: Sum[] = [];
  const courses: Sum[] = [];
  let isSame = true;
  for (const sums of users.values()) {
    isSame &&= sums.lessons.length === sums.courses.length;
    for (const sum of sums.lessons) if (isAny(sum)) lessons.push(sum);
    for (const sum of sums.courses) if (isAny(sum)) courses.push(sum);
  }
  return { lessons, courses: isSame ? null : courses };
}

function sumOf(sums: Sum[], key: { userId: string; id: string; courseId: string }): Sum {
  for (const sum of sums) if (sum.id === key.id) return sum;
  const { userId, id, courseId } = key;
  const sum = { userId, id, courseId, started: 0, completed: 0, contributionMs: 0, watchedMs: 0 };
  sums.push(sum);
  return sum;
}

function add(sum: Sum, row: StoredRow, sign: 1 | -1): void {
  sum.started += sign;
  sum.contributionMs += sign * row.contributionMs;
  if (!row.counted) return;
  sum.watchedMs += sign * row.watchedMs;
  if (row.completed) sum.completed += sign;
}

function isAny(sum: Sum): boolean {
  return sum.started !== 0 || sum.completed !== 0 || sum.contributionMs !== 0 || sum.watchedMs !== 0;
}
