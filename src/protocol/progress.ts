import { z } from "zod";
import { Id } from "./ids.ts";
import type * as Wire from "./wire.ts";

/** Progress of one user in one file, in seconds. */
export const FileProgress = z.object({
  userId: z.string(),
  fileId: z.string(),
  lessonId: z.string(),
  courseId: z.string(),
  /** The last position of the player. */
  position: z.number(),
  /** Where to resume: 0 within the first 5 s and past the end boundary, else two seconds before the position. */
  resumeAt: z.number(),
  /** From the catalogue; null while it is unknown. */
  duration: z.number().nullable(),
  /** The union of all ranges that really played. */
  watched: z.array(z.tuple([z.number(), z.number()])),
  watchedSeconds: z.number(),
  /** Time spent, re-watching included. */
  watchTimeSeconds: z.number(),
  /** watched / duration x 100. */
  percentage: z.number(),
  completed: z.boolean(),
  /** When the player was at the position, ISO 8601; null if no player was there yet. */
  lastWatched: z.string().nullable(),
  epoch: z.number(),
  /** Grows with every change: keep the highest. 0 if there is no progress yet. */
  version: z.number(),
});
export type FileProgress = Wire.FileProgress;

export type FileProgressRow = Wire.FileProgressRow;

export const LessonProgress = z.object({
  userId: z.string(),
  lessonId: z.string(),
  courseId: z.string(),
  totalFiles: z.number(),
  completedFiles: z.number(),
  percentage: z.number(),
  lastUpdated: z.string().nullable(),
  version: z.number(),
});
export type LessonProgress = Wire.LessonProgress;

/** A learner's progress in a course, without its lessons and files. */
export const CourseProgressRow = z.object({
  userId: z.string(),
  courseId: z.string(),
  totalFiles: z.number(),
  completedFiles: z.number(),
  totalDuration: z.number(),
  watchedDuration: z.number(),
  percentage: z.number(),
  /** When a player of the learner was last seen in the course; null if none was. Changes of the catalogue do not count. */
  lastWatched: z.string().nullable(),
  /** When this row last changed, also by a change of the catalogue. */
  lastUpdated: z.string().nullable(),
  version: z.number(),
});
export type CourseProgressRow = Wire.CourseProgressRow;

export const CourseProgress = CourseProgressRow.extend({
  lessons: z.array(LessonProgress),
  files: z.array(FileProgress),
});
export type CourseProgress = Wire.CourseProgress;

/** The payload of `progress:reset`: one file, or a whole course. */
export const ProgressTarget = z.union([z.strictObject({ fileId: Id }), z.strictObject({ courseId: Id })], {
  error: "expected { fileId } or { courseId }, one of the two",
});
export type ProgressTarget = z.infer<typeof ProgressTarget>;

/** The version that a reader was acked. What it reads is never older. */
export const MinVersion = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const minVersion = MinVersion.optional();
/** The payload of `progress:get`. */
export const ProgressQuestion = z.union(
  [z.strictObject({ fileId: Id, minVersion }), z.strictObject({ courseId: Id, minVersion })],
  { error: "expected { fileId } or { courseId }, one of the two, and minVersion if you were acked one" },
);
