import type { Catalogue } from "../../catalogue/catalogue.ts";
import { AppError } from "../../errors.ts";
import type { SharedProgressService } from "../../progress/progress-service.ts";
import { doc } from "../../protocol/doc.ts";
import { Id } from "../../protocol/ids.ts";
import {
  FileLearnersPage,
  LearnersPage,
  LearnersQuestion,
  LessonLearnersPage,
  PageQuestion,
} from "../../protocol/learners.ts";
import { CourseProgress } from "../../protocol/progress.ts";
import type { Bearer } from "../bearer.ts";
import { requireOwnCourse } from "../courses/course-rights.ts";
import { longJson } from "../long-json.ts";
import { BEARER, createRoute, jsonContent, PROBLEMS, type Router, z } from "../router.ts";

const courseId = Id.meta(doc("The course.", "demo"));
const userId = Id.meta(doc("The learner.", "bob"));

export interface LearnerListParts {
  catalogue: Catalogue;
  progress: SharedProgressService;
  bearer: Bearer;
}

/** Adds the lists of learners for an admin or the course's instructor, and the view of one learner. */
export function addLearnerLists(router: Router, { catalogue, progress, bearer }: LearnerListParts): void {
  const shared = { method: "get" as const, tags: ["Learners"], middleware: bearer.required, security: BEARER };

  const ofCourse = createRoute({
    ...shared,
    path: "/v1/courses/{courseId}/learners",
    operationId: "listLearners",
    summary: "List the learners of a course",
    description: "Searched, filtered and sorted over all of them; by id unless `sort` says otherwise.",
    request: { params: z.object({ courseId }), query: LearnersQuestion },
    responses: { 200: jsonContent(LearnersPage, "One page."), ...PROBLEMS },
  });
  router.openapi(ofCourse, async (c) => {
    const { courseId } = c.req.valid("param");
    await requireOwnCourse(catalogue, c.var.caller, courseId);
    return c.json(await progress.learners(courseId, c.req.valid("query")), 200);
  });

  const one = createRoute({
    ...shared,
    path: "/v1/courses/{courseId}/learners/{userId}",
    operationId: "getLearner",
    description: "By an admin or the course's instructor.",
    summary: "Read one learner's progress in a course, its lessons and its files",
    request: { params: z.object({ courseId, userId }) },
    responses: { 200: jsonContent(CourseProgress, "Zeros if the learner has not begun."), ...PROBLEMS },
  });
  router.openapi(one, async (c) => {
    const { courseId, userId } = c.req.valid("param");
    await requireOwnCourse(catalogue, c.var.caller, courseId);
    return longJson(c, await progress.readCourse(userId, courseId));
  });

  const ofLesson = createRoute({
    ...shared,
    path: "/v1/lessons/{lessonId}/learners",
    operationId: "listLessonLearners",
    description: "By an admin or the course's instructor.",
    summary: "List the learners of a lesson, by id",
    request: { params: z.object({ lessonId: Id.meta(doc("The lesson.", "demo-start")) }), query: PageQuestion },
    responses: { 200: jsonContent(LessonLearnersPage, "One page."), ...PROBLEMS },
  });
  router.openapi(ofLesson, async (c) => {
    const { lessonId } = c.req.valid("param");
    const lesson = await catalogue.findLesson(lessonId);
    if (lesson === null) throw new AppError("not_found", "There is no lesson of this id.");
    await requireOwnCourse(catalogue, c.var.caller, lesson.courseId);
    return c.json(await progress.lessonLearners(lessonId, c.req.valid("query")), 200);
  });

  const ofFile = createRoute({
    ...shared,
    path: "/v1/files/{fileId}/learners",
    operationId: "listFileLearners",
    description: "By an admin or the course's instructor.",
    summary: "List the learners of a file, by id",
    request: { params: z.object({ fileId: Id.meta(doc("The file.", "demo-intro")) }), query: PageQuestion },
    responses: { 200: jsonContent(FileLearnersPage, "One page; without the watched ranges."), ...PROBLEMS },
  });
  router.openapi(ofFile, async (c) => {
    const { fileId } = c.req.valid("param");
    const file = await catalogue.findFile(fileId);
    if (file === null) throw new AppError("not_found", "There is no file of this id.");
    await requireOwnCourse(catalogue, c.var.caller, file.courseId);
    return c.json(await progress.fileLearners(fileId, c.req.valid("query")), 200);
  });
}
