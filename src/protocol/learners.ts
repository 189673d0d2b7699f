import { z } from "zod";
import { doc } from "./doc.ts";
import { Id, Text } from "./ids.ts";
import { CourseProgressRow, FileProgress, FileProgressRow, LessonProgress } from "./progress.ts";

/*
 * Lists of learners, and of a learner's files, as HTTP serves them: page by page, filtered and sorted by the database.
 */

/** A cursor that the page before gave as `next`. */
const Cursor = (example: string) =>
  Text(1000)
    .optional()
    .meta(doc("The `next` of the page before, under the same sort and filters; without it the first page.", example));

/** The last page names no `next`. */
const next = z.string().optional().meta(doc("The `after` of the next page; absent on the last.", "bob"));

const limit = (limits: { max: number; default: number }) =>
  z.coerce
    .number()
    .int()
    .min(1)
    .max(limits.max)
    .default(limits.default)
    .meta(doc("The most rows of the page.", limits.default));

/** A row of a list beside the name that people know the learner by; null where nobody has told one. */
const name = z
  .string()
  .nullable()
  .meta(doc("The name that people know the learner by; null where nobody has told one.", "Bob Miller"));

/** How a list of learners may be ordered. Learners whom the order cannot tell apart follow by their ids. */
export const LEARNER_SORTS = ["id", "name", "percentage", "lastWatched"] as const;

/** What to list of a course's learners. */
export const LearnersQuestion = z.object({
  after: Cursor("eyJ2YWx1ZSI6IjUwIiwiaWQiOiJib2IifQ"),
  limit: limit({ max: 500, default: 100 }),
  sort: z.enum(LEARNER_SORTS).default("id").meta(doc("What the list is ordered by.", "percentage")),
  order: z.enum(["asc", "desc"]).default("asc").meta(doc("The direction of the order.", "desc")),
  search: Text(200).optional().meta(doc("A part of the learner's name or id, in any case.", "mil")),
  state: z
    .enum(["completed", "in_progress"])
    .optional()
    .meta(doc("Only learners who have completed the course, or have begun and not completed it.", "in_progress")),
  below: z.coerce.number().min(0).max(100).optional().meta(doc("Only learners with a smaller percentage.", 50)),
  inactiveDays: z.coerce
    .number()
    .int()
    .min(1)
    .max(3650)
    .optional()
    .meta(doc("Only learners who watched nothing in the last so many days.", 14)),
  userId: z
    .union([
      Id,
      z
        .array(Id)
        .max(500)
        .meta(doc("Several learners.", ["bob"])),
    ])
    .transform((ids) => [ids].flat())
    .optional()
    .meta({ description: "Only these learners; may be repeated.", examples: ["bob"] as never }),
});
export type LearnersQuestion = z.infer<typeof LearnersQuestion>;

export const Learner = CourseProgressRow.extend({ name }).meta({
  id: "Learner",
  ...doc("A learner of a course."),
});
export type Learner = z.infer<typeof Learner>;

/** One page of a course's learners. */
export const LearnersPage = z
  .object({
    learners: z.array(Learner).meta(doc("The learners of this page.")),
    total: z.number().optional().meta(doc("How many learners the filters leave; on the first page only.", 1)),
    next,
  })
  .meta({ id: "LearnersPage", ...doc("A page of the learners of a course.") });
export type LearnersPage = z.infer<typeof LearnersPage>;

/** A page of the learners of one lesson or file, by id. */
export const PageQuestion = z.object({
  after: Id.optional().meta(doc("The `next` of the page before; without it the first page.", "ada")),
  limit: limit({ max: 500, default: 100 }),
});
export type PageQuestion = z.infer<typeof PageQuestion>;

export const LessonLearnersPage = z
  .object({
    learners: z.array(LessonProgress.extend({ name })).meta(doc("The learners of this page, by id.")),
    next,
  })
  .meta({ id: "LessonLearnersPage", ...doc("A page of the learners of a lesson.") });
export type LessonLearnersPage = z.infer<typeof LessonLearnersPage>;

export const FileLearnersPage = z
  .object({
    learners: z.array(FileProgressRow.extend({ name })).meta(doc("The learners of this page, by id.")),
    next,
  })
  .meta({ id: "FileLearnersPage", ...doc("A page of the learners of a file.") });
export type FileLearnersPage = z.infer<typeof FileLearnersPage>;

/** Which of one's own files to list. */
export const OwnFilesQuestion = z.object({
  after: Cursor("eyJ2YWx1ZSI6IjIwMjYtMTEtMjFUMTQ6MTc6MTcuOTkzWiIsImlkIjoiZGVtby1pbnRybyJ9"),
  limit: limit({ max: 200, default: 20 }),
  state: z
    .enum(["in_progress", "completed"])
    .optional()
    .meta(doc("`in_progress`: begun and not completed. Without it every file that was begun.", "in_progress")),
  courseId: Id.optional().meta(doc("Only files of this course.", "demo")),
});
export type OwnFilesQuestion = z.infer<typeof OwnFilesQuestion>;

/** A file that its learner has begun, with the titles that a page shows. */
export const OwnFile = FileProgress.extend({
  title: z.string().meta(doc("The title of the file.", "Introduction")),
  lessonTitle: z.string().meta(doc("The title of its lesson.", "Start")),
  courseTitle: z.string().meta(doc("The title of its course.", "Demo")),
}).meta({ id: "OwnFile", ...doc("A file that its learner has begun, with the titles that a page shows.") });
export type OwnFile = z.infer<typeof OwnFile>;

export const OwnFilesPage = z
  .object({ files: z.array(OwnFile).meta(doc("The files of this page, those watched last first.")), next })
  .meta({ id: "OwnFilesPage", ...doc("A page of the files that a learner has begun.") });
export type OwnFilesPage = z.infer<typeof OwnFilesPage>;
