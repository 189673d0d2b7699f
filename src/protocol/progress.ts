import { z } from "zod";
import { doc } from "./doc.ts";
import { Id } from "./ids.ts";
import type * as Wire from "./wire.ts";

const EXAMPLE_TIME = "2026-11-21T14:17:17.993Z";
const userId = z.string().meta(doc("The learner.", "bob"));
const lessonId = z.string().meta(doc("The lesson.", "demo-start"));
const courseId = z.string().meta(doc("The course.", "demo"));
const version = (example: number) =>
  z
    .number()
    .meta(doc("Grows with every change of this row: keep the highest. 0 if there is no progress yet.", example));
const totalFiles = (example: number) => z.number().meta(doc("How many files count.", example));
const completedFiles = z.number().meta(doc("How many of them are completed.", 0));
const percentage = (example: number) =>
  z.number().meta(doc("Weighed by duration, rounded down to hundredths; 100 only when all is completed.", example));
const lastUpdated = z
  .string()
  .nullable()
  .meta(doc("When this row last changed, ISO 8601, also by a change of the catalogue.", "2026-11-21T14:17:18.034Z"));

/** Progress of one user in one file, in seconds. */
export const FileProgress = z
  .object({
    userId,
    fileId: z.string().meta(doc("The file.", "demo-intro")),
    lessonId,
    courseId,
    position: z.number().meta(doc("Where the player was last seen, in seconds.", 8)),
    resumeAt: z
      .number()
      .meta(doc("Where to resume: 0 within the first 5 s and past the end boundary, else 2 s before the position.", 6)),
    duration: z.number().nullable().meta(doc("From the catalogue, in seconds; null while it is unknown.", 24)),
    watched: z
      .array(z.tuple([z.number(), z.number()]).meta(doc("A watched part, half-open: `[from, to)` in seconds.", [0, 8])))
      .meta(doc("The union of all parts that really played, sorted.", [[0, 8]])),
    watchedSeconds: z.number().meta(doc("The length of `watched`.", 8)),
    watchTimeSeconds: z.number().meta(doc("The time spent, re-watching included.", 8)),
    percentage: z
      .number()
      .meta(doc("watched ÷ duration × 100, rounded down to hundredths; 0 while the duration is unknown.", 33.33)),
    completed: z
      .boolean()
      .meta(doc("Whether the file is completed. Only a reset, or an instructor, clears it.", false)),
    lastWatched: z
      .string()
      .nullable()
      .meta(doc("When the player was at the position, ISO 8601; null if no player was there yet.", EXAMPLE_TIME)),
    epoch: z.number().meta(doc("How often the progress was reset. Beats of a lower epoch are dropped.", 0)),
    version: version(5),
  })
  .meta({
    id: "FileProgress",
    ...doc("Progress of one user in one file, in seconds. Zeros and version 0 if nothing was watched yet."),
  });
export type FileProgress = Wire.FileProgress;

/** Progress in a file as the topics of many learners carry it: without the ranges. */
export const FileProgressRow = FileProgress.omit({ watched: true }).meta({
  id: "FileProgressRow",
  ...doc("Progress in a file, without the watched parts."),
});
export type FileProgressRow = Wire.FileProgressRow;

export const LessonProgress = z
  .object({
    userId,
    lessonId,
    courseId,
    totalFiles: totalFiles(2),
    completedFiles,
    percentage: percentage(16.66),
    lastUpdated,
    version: version(6),
  })
  .meta({ id: "LessonProgress", ...doc("A learner's progress in a lesson.") });
export type LessonProgress = Wire.LessonProgress;

/** A learner's progress in a course, without its lessons and files. */
export const CourseProgressRow = z
  .object({
    userId,
    courseId,
    totalFiles: totalFiles(3),
    completedFiles,
    totalDuration: z.number().meta(doc("The sum of the known durations, in seconds.", 72)),
    watchedDuration: z.number().meta(doc("The seconds watched in all files that count.", 8)),
    percentage: percentage(11.11),
    lastWatched: z
      .string()
      .nullable()
      .meta(doc("When a player of the learner was last seen in the course; null if none was.", EXAMPLE_TIME)),
    lastUpdated,
    version: version(7),
  })
  .meta({ id: "CourseProgressRow", ...doc("A learner's progress in a course, without its lessons and files.") });
export type CourseProgressRow = Wire.CourseProgressRow;

export const CourseProgress = CourseProgressRow.extend({
  lessons: z.array(LessonProgress).meta(doc("Every lesson, in the order of the catalogue.")),
  files: z.array(FileProgress).meta(doc("Every file, in the order of the catalogue.")),
}).meta({ id: "CourseProgress", ...doc("A learner's progress in a course, with every lesson and file.") });
export type CourseProgress = Wire.CourseProgress;

/** The payload of `progress:reset`: one file, or a whole course. */
const asked = {
  fileId: Id.meta(doc("The file.", "demo-intro")),
  courseId: Id.meta(doc("The course.", "demo")),
};
export const ProgressTarget = z.union(
  [z.strictObject({ fileId: asked.fileId }), z.strictObject({ courseId: asked.courseId })],
  { error: "expected { fileId } or { courseId }, one of the two" },
);
export type ProgressTarget = z.infer<typeof ProgressTarget>;

/** The version that a reader was acked. What it reads is never older. */
export const MinVersion = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

export const minVersion = MinVersion.optional().meta(
  doc("The version that you were acked: what is answered is never older.", 5),
);
/** The payload of `progress:get`. */
export const ProgressQuestion = z.union(
  [z.strictObject({ fileId: asked.fileId, minVersion }), z.strictObject({ courseId: asked.courseId, minVersion })],
  { error: "expected { fileId } or { courseId }, one of the two, and minVersion if you were acked one" },
);
