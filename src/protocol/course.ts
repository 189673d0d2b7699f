import { z } from "zod";
import { MAX_POSITION_SECONDS } from "./heartbeat.ts";
import { Id, Title } from "./ids.ts";

const Threshold = z.number().gt(0).max(1);
const Seconds = z.number().min(0).max(MAX_POSITION_SECONDS);

export const CourseFile = z
  .object({
    id: Id,
    title: Title,
    /** Unknown where absent: such a file never completes by itself. */
    durationSeconds: Seconds.gt(0).nullish(),
    /** Files that are not required count for nothing in the roll-up. */
    required: z.boolean().optional(),
    /** Share of the file that must be watched; the course's where absent. */
    completionThreshold: Threshold.nullish(),
    /** Where the content begins, after a title sequence. */
    startSeconds: Seconds.nullish(),
    /** Where the credits begin: the end boundary. */
    creditsAtSeconds: Seconds.nullish(),
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

export const CourseLesson = z.object({ id: Id, title: Title, files: z.array(CourseFile).max(2000) });
export type CourseLesson = z.infer<typeof CourseLesson>;

function hasDistinctIds(tree: { lessons: CourseLesson[] }): boolean {
  const lessons = tree.lessons.map((lesson) => lesson.id);
  const files = tree.lessons.flatMap((lesson) => lesson.files.map((file) => file.id));
  return new Set(lessons).size === lessons.length && new Set(files).size === files.length;
}

/** A course with its lessons and files, as the catalogue keeps it. Putting the same tree twice changes nothing. */
export const CourseTree = z
  .object({
    title: Title,
    instructorId: Id.nullish(),
    completionThreshold: Threshold.nullish(),
    /** Whether what a legacy client reports about itself is believed for its own row. */
    acceptReported: z.boolean().optional(),
    lessons: z.array(CourseLesson).max(500),
  })
  .refine(hasDistinctIds, { error: "expected every lesson id and every file id once", path: ["lessons"] });
export type CourseTree = z.infer<typeof CourseTree>;
