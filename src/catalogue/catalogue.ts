import type { CourseTree } from "../protocol/course.ts";

/** What the path of a heartbeat needs of a file. Cached, invalidated by NOTIFY: it validates, the write joins the tables again. */
export interface FileFacts {
  fileId: string;
  lessonId: string;
  courseId: string;
  /** Milliseconds; null while unknown. */
  durationMs: number | null;
}

/** What rights and legacy reports need of a course. Cached like `FileFacts`. */
export interface CourseFacts {
  courseId: string;
  title: string;
  instructorId: string | null;
  acceptReported: boolean;
}

/** A course as the catalogue keeps it, with the tag that `If-Match` names. */
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

/** Courses, lessons and files. */
export interface Catalogue {
  /** Null where the catalogue has no such file. */
  findFile(fileId: string): Promise<FileFacts | null>;
  findCourse(courseId: string): Promise<CourseFacts | null>;
  findLesson(lessonId: string): Promise<{ lessonId: string; courseId: string } | null>;
  /**
   * Makes the course what the tree says, in one transaction; what the tree no longer names is retired.
   * @throws AppError `conflict` for an id of another course, and (status 412) where `ifMatch` is not the stored tag.
   */
  put(
    courseId: string,
    tree: CourseTree,
    options?: { ifMatch?: string },
  ): Promise<{ created: boolean; course: StoredCourse }>;
  /** @throws AppError `not_found` */
  get(courseId: string): Promise<StoredCourse>;
  /** Deletes the course, its lessons, files and all progress in it. @throws AppError `not_found`, `conflict` (412) */
  delete(courseId: string, options?: { ifMatch?: string }): Promise<void>;
  /** Courses by id, `after` exclusive; only those of one instructor where it is given. */
  list(page: { limit: number; after?: string; instructorId?: string }): Promise<CourseSummary[]>;
}
