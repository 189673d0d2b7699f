import type { TopicTotals } from "../protocol/dashboard.ts";
import type { CourseProgressRow, FileProgress, LessonProgress } from "../protocol/progress.ts";
import type { Stream } from "../protocol/stream.ts";

type Pair = readonly [userId: string, id: string];

/** Where the hub reads what its topics show. The newest that is committed, each time. */
export interface TopicSource {
  files(keys: readonly Pair[]): Promise<FileProgress[]>;
  lessons(keys: readonly Pair[]): Promise<LessonProgress[]>;
  courses(keys: readonly Pair[]): Promise<CourseProgressRow[]>;
  latestInCourse(courseId: string): Promise<CourseProgressRow[]>;
  latestInLesson(lessonId: string): Promise<LessonProgress[]>;
  latestInFile(fileId: string): Promise<FileProgress[]>;
  /** All of one user, or of one user in one course. */
  ofUser(
    userId: string,
    courseId: string | null,
  ): Promise<{ files: FileProgress[]; lessons: LessonProgress[]; courses: CourseProgressRow[] }>;
  streams(ids: readonly string[]): Promise<Stream[]>;
  /** What is live, then what changed last. */
  latestStreams(): Promise<Stream[]>;
  /** By id; none for what nobody has begun. */
  courseTotals(courseIds: readonly string[]): Promise<Map<string, TopicTotals>>;
  lessonTotals(lessonIds: readonly string[]): Promise<Map<string, TopicTotals>>;
  fileTotals(fileIds: readonly string[]): Promise<Map<string, TopicTotals>>;
}
