import type { SharedProgressService } from "../../progress/progress-service.ts";
import { doc } from "../../protocol/doc.ts";
import { Id } from "../../protocol/ids.ts";
import { OwnFilesPage, OwnFilesQuestion } from "../../protocol/learners.ts";
import { CourseProgress, FileProgress, minVersion } from "../../protocol/progress.ts";
import type { Bearer } from "../bearer.ts";
import { longJson } from "../long-json.ts";
import { BEARER, createRoute, jsonContent, PROBLEMS, type Router, z } from "../router.ts";

export interface OwnProgressParts {
  progress: SharedProgressService;
  bearer: Bearer;
}

/** Adds the reads of the caller's own progress, in the shape that the sockets use. */
export function addOwnProgress(router: Router, { progress, bearer }: OwnProgressParts): void {
  const query = z.object({ minVersion });
  const shared = { tags: ["Progress"], middleware: bearer.required, security: BEARER };

  const list = createRoute({
    ...shared,
    method: "get",
    path: "/v1/progress",
    operationId: "listOwnProgress",
    summary: "List the files that one has begun, over all courses",
    description:
      'Those watched last first, with the titles that a page shows. `state=in_progress` is what "continue watching" needs.',
    request: { query: OwnFilesQuestion },
    responses: { 200: jsonContent(OwnFilesPage, "One page."), ...PROBLEMS },
  });
  router.openapi(list, async (c) => longJson(c, await progress.ownFiles(c.var.caller.userId, c.req.valid("query"))));

  const readFile = createRoute({
    ...shared,
    method: "get",
    path: "/v1/progress/files/{fileId}",
    operationId: "getFileProgress",
    description: "As the sockets tell it. Never older than `minVersion`.",
    summary: "Read one's own progress in a file",
    request: { params: z.object({ fileId: Id.meta(doc("The file.", "demo-intro")) }), query },
    responses: {
      200: jsonContent(FileProgress, "Zeros and version 0 if nothing was watched yet."),
      ...PROBLEMS,
    },
  });
  router.openapi(readFile, async (c) =>
    c.json(
      await progress.readFile(c.var.caller.userId, c.req.valid("param").fileId, c.req.valid("query").minVersion),
      200,
    ),
  );

  const readCourse = createRoute({
    ...shared,
    method: "get",
    path: "/v1/progress/courses/{courseId}",
    operationId: "getCourseProgress",
    description: "Lessons and files in the order of the catalogue. Never older than `minVersion`.",
    summary: "Read one's own progress in a course, its lessons and its files",
    request: { params: z.object({ courseId: Id.meta(doc("The course.", "demo")) }), query },
    responses: { 200: jsonContent(CourseProgress, "The course, with every lesson and file."), ...PROBLEMS },
  });
  router.openapi(readCourse, async (c) =>
    longJson(
      c,
      await progress.readCourse(c.var.caller.userId, c.req.valid("param").courseId, c.req.valid("query").minVersion),
    ),
  );
}
