import type { Caller } from "../../auth/caller.ts";
import type { Catalogue, ChangeOptions, StoredCourse } from "../../catalogue/catalogue.ts";
import { assertMayEdit } from "../../catalogue/own-course.ts";
import { CourseTree } from "../../protocol/course.ts";
import { doc } from "../../protocol/doc.ts";
import { Id, NewCourseId } from "../../protocol/ids.ts";
import type { Bearer } from "../bearer.ts";
import {
  BEARER,
  createRoute,
  jsonBody,
  jsonContent,
  type Middleware,
  mine,
  nextPage,
  PROBLEMS,
  pageQuery,
  type Router,
  z,
} from "../router.ts";
import { createReadCourse } from "./course-body.ts";

const courseId = doc("The id of the course.", "algebra");
const Course = z
  .intersection(z.object({ id: z.string().meta(courseId) }), CourseTree)
  .meta({ id: "Course", ...doc("A course as it is stored.") });

const CourseList = z
  .object({
    courses: z
      .array(
        z.object({
          id: z.string().meta(courseId),
          title: z.string().meta(doc("The title, for people.", "Algebra")),
          instructorId: z.string().nullable().meta(doc("Whose course it is; null if it is nobody's.", "ines")),
          lessons: z.number().meta(doc("How many lessons it has.", 1)),
          files: z.number().meta(doc("How many files it has.", 2)),
          durationSeconds: z.number().meta(doc("The sum of the known durations.", 600)),
        }),
      )
      .meta(doc("The courses of this page, by id.")),
    next: nextPage("algebra"),
  })
  .meta({ id: "CourseList", ...doc("A page of courses.") });

const Conditional = z.object({
  "if-match": z
    .string()
    .max(1000)
    .optional()
    .meta(doc("The ETag of the course that you read: if it has changed since, the answer is 412.", '"3f2a"')),
});
const params = z.object({ courseId: Id.meta(courseId) });

export interface CourseParts {
  catalogue: Catalogue;
  bearer: Bearer;
}

/** Adds the routes of the catalogue. */
export function addCourseRoutes(router: Router, { catalogue, bearer }: CourseParts): void {
  const shared = { tags: ["Courses"], middleware: bearer.required, security: BEARER };
  const path = "/v1/courses/{courseId}";

  const list = createRoute({
    ...shared,
    method: "get",
    path: "/v1/courses",
    operationId: "listCourses",
    summary: "List the courses, by id",
    description: "With `mine=true` only the courses whose instructor is the caller.",
    request: {
      query: z.object({
        ...pageQuery({ max: 200, default: 50 }),
        mine: mine("Only the courses whose instructor is the caller."),
      }),
    },
    responses: { 200: jsonContent(CourseList, "One page."), ...PROBLEMS },
  });
  router.openapi(list, async (c) => {
    const { after, limit, mine } = c.req.valid("query");
    const found = await catalogue.list({
      limit: limit + 1,
      ...(after === undefined ? {} : { after }),
      ...(mine === "true" ? { instructorId: c.var.caller.userId } : {}),
    });
    const courses = found.slice(0, limit);
    const next = found.length > limit ? courses.at(-1)?.id : undefined;
    return c.json({ courses, ...(next === undefined ? {} : { next }) }, 200);
  });

  const read = createRoute({
    ...shared,
    method: "get",
    path,
    operationId: "getCourse",
    description: "Lessons and files are in their order; retired ones are left out.",
    summary: "Read a course with its lessons and files",
    request: { params },
    responses: { 200: jsonContent(Course, "The course; its ETag is the value for If-Match."), ...PROBLEMS },
  });
  router.openapi(read, async (c) => {
    const course = await catalogue.get(c.req.valid("param").courseId);
    return c.json(toBody(course), 200, { etag: course.etag });
  });

  const put = createRoute({
    ...shared,
    // Before the body is read: it may be long.
    middleware: [bearer.required, editorsOnly],
    method: "put",
    path,
    operationId: "putCourse",
    summary: "Make a course, or change it to the tree in the body",
    description:
      "By an admin or the course's instructor. Idempotent; lessons and files that the tree no longer names are retired. A course that an instructor makes belongs to that instructor, who may hand it over by naming another `instructorId`. Without `instructorId` the owner stays.",
    request: {
      params: z.object({ courseId: NewCourseId.meta(courseId) }),
      headers: Conditional,
      body: jsonBody(CourseTree),
    },
    responses: {
      200: jsonContent(Course, "The course after the change."),
      201: jsonContent(Course, "The course was made."),
      ...PROBLEMS,
    },
  });
  const { middleware: _middleware, ...described } = put;
  router.openAPIRegistry.registerPath(described);
  const readCourse = createReadCourse(bearer);
  // The handler reads the body itself: a declared validator would check all of a long one in one turn of the event loop.
  const { body: _, ...request } = put.request;
  router.openapi(createRoute({ ...put, request, hide: true }), async (c) => {
    const { courseId } = c.req.valid("param");
    const options = toOptions(c.var.caller, c.req.valid("header"));
    const { created, course } = await catalogue.put(courseId, await readCourse(c), options);
    return c.json(toBody(course), created ? 201 : 200, { etag: course.etag });
  });

  const remove = createRoute({
    ...shared,
    method: "delete",
    path,
    operationId: "deleteCourse",
    summary: "Delete a course and all progress in it",
    description: "By an admin or the course's instructor.",
    request: { params, headers: Conditional },
    responses: { 204: { description: "The course is deleted." }, ...PROBLEMS },
  });
  router.openapi(remove, async (c) => {
    const { courseId } = c.req.valid("param");
    assertMayEdit(c.var.caller);
    await catalogue.delete(courseId, toOptions(c.var.caller, c.req.valid("header")));
    return c.body(null, 204);
  });
}

const editorsOnly: Middleware = async (c, next) => {
  assertMayEdit(c.var.caller);
  await next();
};

function toBody({ courseId, tree }: StoredCourse): { id: string } & CourseTree {
  return { id: courseId, ...tree };
}

function toOptions(by: Caller, headers: z.infer<typeof Conditional>): ChangeOptions {
  return { by, ...(headers["if-match"] === undefined ? {} : { ifMatch: headers["if-match"] }) };
}
