import { z } from "zod";
import { doc } from "./doc.ts";
import { NewId, NewUserId, Title } from "./ids.ts";
import { MediaLength, MediaSeconds, Share } from "./numbers.ts";

export const CourseFile = z
  .object({
    id: NewId.meta(doc("The id that heartbeats name.", "algebra-1.mp4")),
    title: Title.meta(doc("The title, for people.", "What a number is")),
    durationSeconds: MediaLength.nullish().meta(
      doc("If absent, the duration is unknown, and the file never completes by itself.", 600),
    ),
    required: z
      .boolean()
      .optional()
      .meta(doc("A file that is not required does not count in the sums of its lesson and course.", true)),
    completionThreshold: Share.nullish().meta(
      doc("The share of the file that must be watched; if absent, the course's.", 0.9),
    ),
    startSeconds: MediaSeconds.nullish().meta(doc("Where the content begins, after a title sequence.", 5)),
    creditsAtSeconds: MediaSeconds.nullish().meta(doc("Where the credits begin: the end boundary.", 580)),
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
  })
  .meta({ id: "CourseFile", ...doc("A file of a lesson.") });
export type CourseFile = z.infer<typeof CourseFile>;

const lessonFields = {
  id: NewId.meta(doc("The id of the lesson.", "algebra-1")),
  title: Title.meta(doc("The title, for people.", "Numbers")),
};
const MAX_FILES = 2000;

export const CourseLesson = z
  .object({ ...lessonFields, files: z.array(CourseFile).max(MAX_FILES).meta(doc("The files, in their order.")) })
  .meta({ id: "CourseLesson", ...doc("A lesson with its files.") });
export type CourseLesson = z.infer<typeof CourseLesson>;

function hasDistinctIds(tree: { lessons: CourseLesson[] }): boolean {
  const lessons = tree.lessons.map((lesson) => lesson.id);
  const files = tree.lessons.flatMap((lesson) => lesson.files.map((file) => file.id));
  return new Set(lessons).size === lessons.length && new Set(files).size === files.length;
}

const courseFields = {
  title: Title.meta(doc("The title, for people.", "Algebra")),
  instructorId: NewUserId.nullish().meta(doc("Who sees the learners of the course, and may change it.", "ines")),
  completionThreshold: Share.nullish().meta(doc("The share of a file that must be watched; 0.9 if absent.", 0.9)),
  acceptReported: z
    .boolean()
    .optional()
    .meta(doc("Whether a legacy client is believed what it reports about its own progress; true if absent.", true)),
};
const MAX_LESSONS = 500;
const DISTINCT = { error: "expected every lesson id and every file id once", path: ["lessons"] };

/** A course with its lessons and files. To put the same tree twice changes nothing. */
export const CourseTree = z
  .object({
    ...courseFields,
    lessons: z.array(CourseLesson).max(MAX_LESSONS).meta(doc("The lessons, in their order.")),
  })
  .refine(hasDistinctIds, DISTINCT)
  .meta({ id: "CourseTree", ...doc("A course with its lessons and files.") });
export type CourseTree = z.infer<typeof CourseTree>;

/** A course whose files are not checked yet: there may be many thousands. */
export const CourseOutline = z.object({
  ...courseFields,
  lessons: z.array(z.object({ ...lessonFields, files: z.array(z.unknown()).max(MAX_FILES) })).max(MAX_LESSONS),
});

/** The rule about a whole course, once all its parts are checked. */
export const DistinctCourse = z.custom<CourseTree>().refine(hasDistinctIds, DISTINCT);
