import type { TopicTotals } from "../../protocol/dashboard.ts";
import type { CourseProgressRow, FileProgress, FileProgressRow, LessonProgress } from "../../protocol/progress.ts";
import type { Stream } from "../../protocol/stream.ts";

export type Pair = readonly [userId: string, id: string];

/** Where rooms read rows and sums. Every read returns the newest committed state. */
export interface TopicSource {
  files(keys: readonly Pair[]): Promise<FileProgress[]>;
  /** The same without the watched ranges. */
  fileRows(keys: readonly Pair[]): Promise<FileProgressRow[]>;
  lessons(keys: readonly Pair[]): Promise<LessonProgress[]>;
  courses(keys: readonly Pair[]): Promise<CourseProgressRow[]>;
  latestInCourse(courseId: string): Promise<CourseProgressRow[]>;
  latestInLesson(lessonId: string): Promise<LessonProgress[]>;
  latestInFile(fileId: string): Promise<FileProgressRow[]>;
  /** Everything of one user, or of one user in one course. */
  ofUser(
    userId: string,
    courseId: string | null,
  ): Promise<{ files: FileProgress[]; lessons: LessonProgress[]; courses: CourseProgressRow[] }>;
  streams(ids: readonly string[]): Promise<Stream[]>;
  /** Live streams first, then the others, each by its last change. */
  latestStreams(): Promise<Stream[]>;
  /** Sums over learners by id; no entry where no learner has begun. */
  courseTotals(courseIds: readonly string[]): Promise<Map<string, TopicTotals>>;
  lessonTotals(lessonIds: readonly string[]): Promise<Map<string, TopicTotals>>;
  fileTotals(fileIds: readonly string[]): Promise<Map<string, TopicTotals>>;
}
