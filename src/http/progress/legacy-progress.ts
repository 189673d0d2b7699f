import { randomUUID } from "node:crypto";
import type { LegacyFileProgress, SharedProgressService } from "../../progress/progress-service.ts";
import { doc } from "../../protocol/doc.ts";
import { Id } from "../../protocol/ids.ts";
import { MAX_POSITION_SECONDS } from "../../protocol/numbers.ts";
import type { Bearer } from "../bearer.ts";
import { BEARER, createRoute, jsonBody, jsonContent, PROBLEMS, type Router, z } from "../router.ts";

/*
 * The older REST interface, in the field names of its reference document. The server believes the progress that such a
 * client reports of its own user, and keeps it apart from the ranges that were watched.
 */

/** Less than this is taken as 100. A client that reports more is wrong. */
const PERCENTAGE_LIMIT = 101;

const userId = doc("The user of the token.", "bob");
const fileId = doc("The file.", "demo-live");
const courseId = doc("The course.", "demo");

const Report = z
  .object({
    file_id: Id.meta(fileId),
    progress_seconds: z.number().min(0).max(MAX_POSITION_SECONDS).meta(doc("Where the player is.", 12)),
    /** Encoders disagree about the length of a file, so a client may report 100.03; that is 100. */
    progress_percentage: z
      .number()
      .min(0)
      .lt(PERCENTAGE_LIMIT)
      .optional()
      .meta(doc("How far the user is; if absent, the position counts. Only a higher one changes anything.", 50)),
    completed: z.boolean().optional().meta(doc("`true` completes the file.", false)),
  })
  .meta({ id: "LegacyReport", ...doc("What a client of the older interface reports of its own user.") });

const FileRow = z
  .object({
    user_id: z.string().meta(userId),
    file_id: z.string().meta(fileId),
    progress_seconds: z.number().meta(doc("Where the player was last seen.", 12)),
    progress_percentage: z.number().meta(doc("The larger of watched and reported.", 50)),
    completed: z.boolean().meta(doc("Whether the file is completed.", false)),
    last_watched: z
      .string()
      .nullable()
      .meta(doc("When the position was seen, ISO 8601; null if never.", "2026-11-21T14:17:22.381Z")),
  })
  .meta({ id: "LegacyFileProgress", ...doc("Progress in a file, in the older interface's names.") });

const CourseRow = z
  .object({
    user_id: z.string().meta(userId),
    course_id: z.string().meta(courseId),
    total_files: z.number().meta(doc("How many files count.", 3)),
    completed_files: z.number().meta(doc("How many of them are completed.", 0)),
    progress_percentage: z.number().meta(doc("Weighed by duration, rounded down to hundredths.", 16.66)),
    last_updated: z
      .string()
      .nullable()
      .meta(doc("When the row last changed, ISO 8601; null if never.", "2026-11-21T14:17:22.383Z")),
  })
  .meta({ id: "LegacyCourseProgress", ...doc("Progress in a course, in the older interface's names.") });

export interface LegacyParts {
  progress: SharedProgressService;
  bearer: Bearer;
}

/** Adds the older REST interface. */
export function addLegacyProgress(router: Router, { progress, bearer }: LegacyParts): void {
  const shared = { tags: ["Legacy progress"], middleware: bearer.required, security: BEARER };

  const report = createRoute({
    ...shared,
    method: "post",
    path: "/learn/api/progress",
    operationId: "reportProgress",
    description: "Believed if the course has `acceptReported`; the position is written in any case.",
    summary: "Report one's own progress in a file",
    request: { body: jsonBody(Report) },
    responses: { 200: jsonContent(FileRow, "The row after the report, already durable."), ...PROBLEMS },
  });
  router.openapi(report, async (c) => {
    const body = c.req.valid("json");
    const row = await progress.report(
      { userId: c.var.caller.userId, connectionId: `http:${randomUUID()}` },
      {
        fileId: body.file_id,
        progressSeconds: body.progress_seconds,
        ...(body.progress_percentage === undefined
          ? {}
          : { progressPercentage: Math.min(100, body.progress_percentage) }),
        ...(body.completed === undefined ? {} : { completed: body.completed }),
      },
    );
    return c.json(toFileRow(row), 200);
  });

  const readFile = createRoute({
    ...shared,
    method: "get",
    path: "/learn/api/progress/file/{fileId}",
    operationId: "getReportedFileProgress",
    description: "For clients of the older interface; `/v1/progress/files/{fileId}` tells more.",
    summary: "Read one's own progress in a file",
    request: { params: z.object({ fileId: Id.meta(fileId) }) },
    responses: { 200: jsonContent(FileRow, "Zeros if nothing was watched yet."), ...PROBLEMS },
  });
  router.openapi(readFile, async (c) => {
    const row = await progress.readLegacy(c.var.caller.userId, c.req.valid("param").fileId);
    return c.json(toFileRow(row), 200);
  });

  const readCourse = createRoute({
    ...shared,
    method: "get",
    path: "/learn/api/progress/course/{courseId}",
    operationId: "getReportedCourseProgress",
    description: "For clients of the older interface; `/v1/progress/courses/{courseId}` tells more.",
    summary: "Read one's own progress in a course",
    request: { params: z.object({ courseId: Id.meta(courseId) }) },
    responses: { 200: jsonContent(CourseRow, "Zeros if nothing was watched yet."), ...PROBLEMS },
  });
  router.openapi(readCourse, async (c) => {
    const row = await progress.readCourseRow(c.var.caller.userId, c.req.valid("param").courseId);
    const body = {
      user_id: row.userId,
      course_id: row.courseId,
      total_files: row.totalFiles,
      completed_files: row.completedFiles,
      progress_percentage: row.percentage,
      last_updated: row.lastUpdated,
    };
    return c.json(body, 200);
  });
}

function toFileRow(row: LegacyFileProgress): z.infer<typeof FileRow> {
  return {
    user_id: row.userId,
    file_id: row.fileId,
    progress_seconds: row.progressSeconds,
    progress_percentage: row.progressPercentage,
    completed: row.completed,
    last_watched: row.lastWatched,
  };
}
