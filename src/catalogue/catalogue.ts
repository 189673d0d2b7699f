import type { CourseTree } from "../protocol/course.ts";
import type { Role } from "../protocol/roles.ts";

/** Where a lesson stands in the catalogue. */
export interface LessonFacts {
  lessonId: string;
  courseId: string;
}

/** Where a file stands in the catalogue. */
export interface FilePlace extends LessonFacts {
  fileId: string;
}

/** The facts of a file that its heartbeats are validated and decided by. */
export interface FileFacts extends FilePlace {
  /** Milliseconds; null while unknown. */
  durationMs: number | null;
  /** What a file of unknown duration weighs in the sums: the mean of its course, in ms. Null where the duration is known. */
  assumedMs: number | null;
  /** Whether lesson and course count the file: it is required, and neither the file nor its lesson is retired. */
  counted: boolean;
  /** Milliseconds of watching between `startMs` and `endMs` that complete the file; null while the duration is unknown. */
  completeAtMs: number | null;
  /** The start boundary in milliseconds: 0, or where a title sequence ends. */
  startMs: number;
  /** The end boundary in milliseconds: where the credits begin, else the duration. */
  endMs: number | null;
  /** The version of the course's catalogue that all these facts belong to. */
  catalogueVersion: number;
}

/** The facts of a course that rights and legacy reports are decided by. */
export interface CourseFacts {
  courseId: string;
  title: string;
  instructorId: string | null;
  /** Whether progress that a legacy client reports is believed. */
  acceptReported: boolean;
}

/** A stored course, with the tag that `If-Match` names. */
export interface StoredCourse {
  courseId: string;
  tree: CourseTree;
  etag: string;
}

export interface CourseSummary {
  id: string;
  title: string;
  instructorId: string | null;
  lessons: number;
  files: number;
  durationSeconds: number;
}

/** The user who changes a course. */
export interface Editor {
  userId: string;
  role: Role;
}

/** How a course is changed. */
export interface ChangeOptions {
  /** The user who changes it, whose right is decided by the course as it is under the lock. Without it, Playhead does. */
  by?: Editor;
  /** Changes nothing unless this is the tag of the stored course. */
  ifMatch?: string;
}

/** Courses, lessons and files. */
export interface Catalogue {
  /** Null if the catalogue has no such file; likewise below. */
  findFile(fileId: string): Promise<FilePlace | null>;
  findCourse(courseId: string): Promise<CourseFacts | null>;
  findLesson(lessonId: string): Promise<LessonFacts | null>;
  /**
   * Gives the course this tree, in one transaction. Lessons and files that the tree does not name are retired.
   * @throws AppError `forbidden` if `by` may not; `conflict` for an id of another course, and with status 412 if `ifMatch`
   *   is not the stored tag
   */
  put(courseId: string, tree: CourseTree, options?: ChangeOptions): Promise<{ created: boolean; course: StoredCourse }>;
  /** @throws AppError `not_found` */
  get(courseId: string): Promise<StoredCourse>;
  /** Deletes the course, its lessons, files and all progress in it. @throws AppError `not_found`, `forbidden`, `conflict` (412) */
  delete(courseId: string, options?: ChangeOptions): Promise<void>;
  /** Lists courses in the order of their ids, from the first after `after`. With `instructorId` only that instructor's. */
  list(page: { limit: number; after?: string; instructorId?: string }): Promise<CourseSummary[]>;
}
