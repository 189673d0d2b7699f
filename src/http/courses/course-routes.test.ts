import { describe, expect, it } from "vitest";
import { ADMIN, createApi, FILE, INSTRUCTOR, LEARNER, OTHER, ROW, TREE } from "../../../test/helpers/http-api.ts";
import type { CourseTree } from "../../protocol/course.ts";
import type { Role } from "../../protocol/roles.ts";

describe("the routes of courses", () => {
  it("list courses page by page, and an instructor's own ones on request", async () => {
    const courses = { a: TREE, b: { ...TREE, instructorId: "ines" }, c: TREE };
    const { call } = createApi({ courses });
    const first = await call("/v1/courses?limit=2", { as: LEARNER });
    expect(first.body).toMatchObject({ courses: [{ id: "a" }, { id: "b" }], next: "b" });
    const second = await call("/v1/courses?limit=2&after=b", { as: LEARNER });
    expect(second.body).toMatchObject({ courses: [{ id: "c" }] });
    expect(second.body.next).toBeUndefined();
    expect((await call("/v1/courses?mine=true", { as: INSTRUCTOR })).body.courses).toMatchObject([{ id: "b" }]);
    expect((await call("/v1/courses?limit=1000", { as: LEARNER })).status).toBe(400);
  });

  it("answer 201 for a new course and 200 for a changed one, with the tag that If-Match names", async () => {
    const { call } = createApi();
    const made = await call("/v1/courses/new", { as: ADMIN, method: "PUT", body: TREE });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ id: "new", title: "Ocean", instructorId: null });
    const etag = made.headers.get("etag") as string;
    const change = { as: ADMIN, method: "PUT", body: { ...TREE, title: "Sea" }, headers: { "if-match": etag } };
    expect((await call("/v1/courses/new", change)).status).toBe(200);
    const stale = await call("/v1/courses/new", change);
    expect(stale.status).toBe(412);
    expect(stale.body.code).toBe("conflict");
  });

  it("return a body that may be put again", async () => {
    const { call } = createApi();
    const { body } = await call("/v1/courses/c1", { as: LEARNER });
    expect((await call("/v1/courses/c1", { as: INSTRUCTOR, method: "PUT", body })).status).toBe(200);
  });

  it("give a course to the instructor who makes it, and let only its instructor or an admin hand it over", async () => {
    const { call } = createApi();
    const put = (as: [string, Role], path: string, changes: Partial<CourseTree> = {}) =>
      call(path, { as, method: "PUT", body: { ...TREE, ...changes } });
    expect((await put(INSTRUCTOR, "/v1/courses/mine")).body.instructorId).toBe("ines");
    expect((await put(INSTRUCTOR, "/v1/courses/given", { instructorId: "otto" })).status).toBe(403);
    expect((await put(OTHER, "/v1/courses/mine")).status).toBe(403);
    expect((await put(LEARNER, "/v1/courses/theirs")).status).toBe(403);
    expect((await put(ADMIN, "/v1/courses/mine")).body.instructorId).toBe("ines");
    expect((await put(INSTRUCTOR, "/v1/courses/mine", { instructorId: "otto" })).body.instructorId).toBe("otto");
    expect((await put(INSTRUCTOR, "/v1/courses/mine")).status).toBe(403);
  });

  it("refuse ids that have no topic or no address of their own", async () => {
    const { call } = createApi();
    const put = (id: string, body: object = TREE) => call(`/v1/courses/${id}`, { as: ADMIN, method: "PUT", body });
    expect((await put("A%2Fuser:bob")).body.code).toBe("bad_request");
    for (const instructorId of ["..", "a/user:b"]) {
      expect((await put("new", { title: "New", instructorId, lessons: [] })).body.code).toBe("bad_request");
    }
    const lessons = (lesson: string, file: string) => [
      { id: lesson, title: "One", files: [{ id: file, title: "File" }] },
    ];
    expect((await put("new", { title: "New", lessons: lessons("..", "f") })).body.code).toBe("bad_request");
    expect((await put("new", { title: "New", lessons: lessons("l", ".") })).body.code).toBe("bad_request");
    expect((await put("new", { title: "New", lessons: lessons("l", "...") })).status).toBe(201);
  });

  it("refuse a learner's course before its body is read", async () => {
    const { call } = createApi();
    const put = { as: LEARNER, method: "PUT", body: "no JSON at all" };
    expect((await call("/v1/courses/new", put)).body.code).toBe("forbidden");
  });

  it("let only an admin or the course's instructor delete it", async () => {
    const { call } = createApi();
    expect((await call("/v1/courses/c1", { as: LEARNER, method: "DELETE" })).status).toBe(403);
    expect((await call("/v1/courses/c1", { as: OTHER, method: "DELETE" })).status).toBe(403);
    expect((await call("/v1/courses/c1", { as: INSTRUCTOR, method: "DELETE" })).status).toBe(204);
    expect((await call("/v1/courses/c1", { as: ADMIN, method: "DELETE" })).status).toBe(404);
  });
});

describe("the routes of learners", () => {
  it("list learners for the course's instructor, at most 500 a page", async () => {
    const { call, progress } = createApi();
    const { status, body } = await call("/v1/courses/c1/learners?after=aaa&limit=500", { as: INSTRUCTOR });
    expect(status).toBe(200);
    expect(body).toEqual({ learners: [{ ...ROW, name: null }], next: "alice" });
    expect(progress.learners).toHaveBeenCalledWith("c1", { limit: 500, after: "aaa", sort: "id", order: "asc" });
    expect((await call("/v1/courses/c1/learners?limit=501", { as: INSTRUCTOR })).status).toBe(400);
    expect((await call("/v1/courses/c1/learners", { as: OTHER })).status).toBe(403);
    expect((await call("/v1/courses/c1/learners", { as: LEARNER })).status).toBe(403);
    expect((await call("/v1/courses/none/learners", { as: ADMIN })).status).toBe(404);
  });

  it("reset, complete and un-complete one file or the whole course", async () => {
    const { call, progress } = createApi();
    const by = { userId: "ines", role: "instructor" };
    const post = (verb: string, body?: object) =>
      call(`/v1/courses/c1/learners/alice/${verb}`, { as: INSTRUCTOR, method: "POST", body });
    const { status, body } = await post("reset");
    expect(status).toBe(200);
    expect(body).toMatchObject({ ok: true, progress: { courseId: "c1", files: [FILE] } });
    await post("reset", { fileId: "f1" });
    expect(progress.reset.mock.calls).toEqual([
      ["alice", { courseId: "c1" }, by],
      ["alice", { courseId: "c1", fileId: "f1" }, by],
    ]);
    await post("complete");
    await post("complete", { fileId: "f1", source: "waived" });
    expect(progress.complete.mock.calls).toEqual([
      ["alice", { courseId: "c1" }, { source: "manual", by }],
      ["alice", { courseId: "c1", fileId: "f1" }, { source: "waived", by }],
    ]);
    await post("uncomplete", { fileId: "f1" });
    expect(progress.uncomplete).toHaveBeenCalledWith("alice", { courseId: "c1", fileId: "f1" }, by);
  });

  it("change nothing if the file belongs to another course, or the caller is not the instructor", async () => {
    const courses = {
      c1: { ...TREE, instructorId: "ines" },
      c2: {
        title: "Other",
        instructorId: "otto",
        lessons: [{ id: "l2", title: "Two", files: [{ id: "f2", title: "File" }] }],
      },
    };
    const { call, progress } = createApi({ courses });
    const reset = (as: [string, Role], body?: object) =>
      call("/v1/courses/c1/learners/alice/reset", { as, method: "POST", body });
    expect((await reset(INSTRUCTOR, { fileId: "f2" })).body.code).toBe("not_found");
    expect((await reset(INSTRUCTOR, { fileId: "nowhere" })).body.code).toBe("not_found");
    expect((await reset(OTHER)).status).toBe(403);
    expect((await reset(LEARNER)).status).toBe(403);
    expect((await reset(INSTRUCTOR, { fileId: 7 })).status).toBe(400);
    expect(progress.reset).not.toHaveBeenCalled();
  });
});
