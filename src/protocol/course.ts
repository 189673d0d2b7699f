import { z } from "zod";
import { NewId, NewUserId, Title } from "./ids.ts";
import { MediaSeconds, Share } from "./numbers.ts";

export const CourseFile = z
  .object({
    id: NewId,
    title: Title,
    /** If absent, the duration is unknown, and the file never completes by itself. */
    durationSeconds: MediaSeconds.gt(0).nullish(),
    /** A file that is not required does not count in the sums of its lesson and course. */
    required: z.boolean().optional(),
    /** The share of the file that must be watched; if absent, the course's. */
    completionThreshold: Share.nullish(),
    /** Where the content begins, after a title sequence. */
    startSeconds: MediaSeconds.nullish(),
    /** Where the credits begin: the end boundary. */
    creditsAtSeconds: MediaSeconds.nullish(),
  })
  .refine((file) => file.creditsAtSeconds == null || file.creditsAtSeconds > (file.startSeconds ?? 0), {
    error: "expected creditsAtSeconds to be past startSeconds",
    path: ["creditsAtSeconds"],
  })
  .refine((file) => file.durationSeconds == null || (file.creditsAtSeconds ?? 0) <= file.durationSeconds, {
    error: "expected creditsAtSeconds within the duration",
    path: ["creditsAtSeconds"],
  })
  .refine((file) => file.durationSeconds == null || (file.startSeconds ?? 0) < file.durationSeconds, {
    error: "expected startSeconds before the end of the file",
    path: ["startSeconds"],
  });
export type CourseFile = z.infer<typeof CourseFile>;

const lessonFields = { id: NewId, title: Title };
const MAX_FILES = 2000;

export const CourseLesson = z.object({ ...lessonFields, files: z.array(CourseFile).max(MAX_FILES) });
export type CourseLesson = z.infer<typeof CourseLesson>;

function hasDistinctIds(tree: { lessons: CourseLesson[] }): boolean {
  const lessons = tree.lessons.map((lesson) => lesson.id);
  const files = tree.lessons.flatMap((lesson) => lesson.files.map((file) => file.id));
  return new Set(lessons).size === lessons.length && new Set(files).size === files.length;
}

const courseFields = {
  title: Title,
  instructorId: NewUserId.nullish(),
  completionThreshold: Share.nullish(),
  /** Whether a legacy client is believed what it reports about its own progress. */
  acceptReported: z.boolean().optional(),
};
const MAX_LESSONS = 500;
const DISTINCT = { error: "expected every lesson id and every file id once", path: ["lessons"] };

/** A course with its lessons and files. To put the same tree twice changes nothing. */
export const CourseTree = z
  .object({ ...courseFields, lessons: z.array(CourseLesson).max(MAX_LESSONS) })
  .refine(hasDistinctIds, DISTINCT);
export type CourseTree = z.infer<typeof CourseTree>;

/** A course whose files are not checked yet: there may be many thousands. */
export const CourseOutline = z.object({
  ...courseFields,
  lessons: z.array(z.object({ ...lessonFields, files: z.array(z.unknown()).max(MAX_FILES) })).max(MAX_LESSONS),
});

/** The rule about a whole course, once all its parts are checked. */
export const DistinctCourse = z.custom<CourseTree>().refine(hasDistinctIds, DISTINCT);
