import { z } from "zod";
import { Id, Text } from "./ids.ts";
import { CourseProgressRow, FileProgress, LessonProgress } from "./progress.ts";

/*
 * Lists of learners, and of a learner's files, as HTTP serves them: page by page, filtered and sorted by the database.
 */

/** A cursor that the page before gave as `next`. */
const Cursor = Text(1000).optional();

/** The last page names no `next`. */
const next = z.string().optional();

const limit = (limits: { max: number; default: number }) =>
  z.coerce.number().int().min(1).max(limits.max).default(limits.default);

/** A row of a list beside the name that people know the learner by; null where nobody has told one. */
const name = z.string().nullable();

/** How a list of learners may be ordered. Learners whom the order cannot tell apart follow by their ids. */
export const LEARNER_SORTS = ["id", "name", "percentage", "lastWatched"] as const;

/** What to list of a course's learners. */
export const LearnersQuestion = z.object({
  /** The `next` of the page before, under the same sort and filters. */
  after: Cursor,
  limit: limit({ max: 500, default: 100 }),
  sort: z.enum(LEARNER_SORTS).default("id"),
  order: z.enum(["asc", "desc"]).default("asc"),
  /** A part of the learner's name or id, in any case. */
  search: Text(200).optional(),
  state: z.enum(["completed", "in_progress"]).optional(),
  /** Only learners with a smaller percentage. */
  below: z.coerce.number().min(0).max(100).optional(),
  /** Only learners who watched nothing in the last so many days. */
  inactiveDays: z.coerce.number().int().min(1).max(3650).optional(),
  /** Only these learners; may be repeated. */
  userId: z
    .union([Id, z.array(Id).max(500)])
    .transform((ids) => [ids].flat())
    .optional(),
});
export type LearnersQuestion = z.infer<typeof LearnersQuestion>;

export const Learner = CourseProgressRow.extend({ name });
export type Learner = z.infer<typeof Learner>;

/** One page of a course's learners. */
export const LearnersPage = z.object({
  learners: z.array(Learner),
  /** How many learners the filters leave; on the first page only. */
  total: z.number().optional(),
  next,
});
export type LearnersPage = z.infer<typeof LearnersPage>;

/** A page of the learners of one lesson or file, by id. */
export const PageQuestion = z.object({ after: Id.optional(), limit: limit({ max: 500, default: 100 }) });
export type PageQuestion = z.infer<typeof PageQuestion>;

export const LessonLearnersPage = z.object({ learners: z.array(LessonProgress.extend({ name })), next });
export type LessonLearnersPage = z.infer<typeof LessonLearnersPage>;

export const FileLearnersPage = z.object({
  learners: z.array(FileProgress.omit({ watched: true }).extend({ name })),
  next,
});
export type FileLearnersPage = z.infer<typeof FileLearnersPage>;

/** Which of one's own files to list. */
export const OwnFilesQuestion = z.object({
  after: Cursor,
  limit: limit({ max: 200, default: 20 }),
  /** `in_progress`: begun and not completed, which is what "continue watching" shows. Without it: every file that was begun. */
  state: z.enum(["in_progress", "completed"]).optional(),
  courseId: Id.optional(),
});
export type OwnFilesQuestion = z.infer<typeof OwnFilesQuestion>;

/** A file that its learner has begun, with the titles that a page shows. */
export const OwnFile = FileProgress.extend({ title: z.string(), lessonTitle: z.string(), courseTitle: z.string() });
export type OwnFile = z.infer<typeof OwnFile>;

export const OwnFilesPage = z.object({ files: z.array(OwnFile), next });
export type OwnFilesPage = z.infer<typeof OwnFilesPage>;
