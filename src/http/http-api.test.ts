import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import type { Accounts } from "../auth/accounts.ts";
import { createBuiltinTokens } from "../auth/builtin-tokens.ts";
import type { Role } from "../auth/caller.ts";
import type { Catalogue, StoredCourse } from "../catalogue/catalogue.ts";
import { AppError } from "../errors.ts";
import { createHealth } from "../ops/health.ts";
import { createMetrics } from "../ops/metrics.ts";
import type { ProgressService } from "../progress/progress-service.ts";
import type { CourseTree } from "../protocol/course.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { createHttpApi, type HttpParts } from "./http-api.ts";

const tokens = createBuiltinTokens({ secret: "x".repeat(40), ttlSeconds: 60 });
const TREE: CourseTree = {
  title: "Ocean",
  lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "File" }] }],
};
const FILE: FileProgress = {
  userId: "alice",
  fileId: "f1",
  lessonId: "l1",
  courseId: "c1",
  position: 7,
  resumeAt: 5,
  duration: 60,
  watched: [[0, 7]],
  watchedSeconds: 7,
  watchTimeSeconds: 7,
  percentage: 11.66,
  completed: false,
  lastWatched: "2026-11-01T10:00:00.000Z",
  epoch: 0,
  version: 3,
};
const ROW = {
  userId: "alice",
  courseId: "c1",
  totalFiles: 2,
  completedFiles: 1,
  totalDuration: 120,
  watchedDuration: 67,
  percentage: 55,
  lastUpdated: "2026-11-01T10:00:00.000Z",
  version: 4,
};
const LEGACY = {
  userId: "alice",
  fileId: "f1",
  progressSeconds: 120,
  progressPercentage: 50,
  completed: false,
  lastWatched: "2026-11-01T10:00:00.000Z",
};

/** A catalogue of what was put into it. */
function fakeCatalogue(courses: Record<string, CourseTree> = {}): Catalogue {
  const stored = new Map(Object.entries(courses));
  const toStored = (courseId: string): StoredCourse => {
    const tree = stored.get(courseId);
    if (tree === undefined) throw new AppError("not_found", "no such course");
    return { courseId, tree, etag: `"${tree.title}"` };
  };
  return {
    async findFile(fileId) {
      for (const [courseId, tree] of stored) {
        const lesson = tree.lessons.find(({ files }) => files.some(({ id }) => id === fileId));
        if (lesson !== undefined) return { fileId, lessonId: lesson.id, courseId, durationMs: null };
      }
      return null;
    },
    async findCourse(courseId) {
      const tree = stored.get(courseId);
      if (tree === undefined) return null;
      return { courseId, title: tree.title, instructorId: tree.instructorId ?? null, acceptReported: true };
    },
    findLesson: async () => null,
    async put(courseId, tree, options) {
      if (options?.ifMatch !== undefined && options.ifMatch !== `"${stored.get(courseId)?.title}"`) {
        throw new AppError("conflict", "changed meanwhile", { status: 412 });
      }
      const created = !stored.has(courseId);
      stored.set(courseId, tree);
      return { created, course: toStored(courseId) };
    },
    get: async (courseId) => toStored(courseId),
    async delete(courseId) {
      toStored(courseId);
      stored.delete(courseId);
    },
    async list({ limit, after, instructorId }) {
      return [...stored]
        .filter(
          ([id, tree]) => id > (after ?? "") && (instructorId === undefined || tree.instructorId === instructorId),
        )
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .slice(0, limit)
        .map(([id, tree]) => ({
          id,
          title: tree.title,
          instructorId: tree.instructorId ?? null,
          lessons: 1,
          files: 1,
          durationSeconds: 0,
        }));
    },
  };
}

function fakeProgress() {
  return {
    contact: vi.fn(),
    heartbeat: vi.fn(),
    heartbeats: vi.fn<ProgressService["heartbeats"]>(async (_, beats) =>
      beats.map(() => ({ ok: true as const, progress: FILE, nextBeatMs: 10_000 })),
    ),
    readFile: vi.fn<ProgressService["readFile"]>(async () => FILE),
    readCourse: vi.fn<ProgressService["readCourse"]>(async () => ({ ...ROW, lessons: [], files: [FILE] })),
    readCourseRow: vi.fn<ProgressService["readCourseRow"]>(async () => ROW),
    learners: vi.fn<ProgressService["learners"]>(async () => ({ learners: [ROW], next: "alice" })),
    reset: vi.fn<ProgressService["reset"]>(async () => undefined),
    complete: vi.fn<ProgressService["complete"]>(async () => undefined),
    uncomplete: vi.fn<ProgressService["uncomplete"]>(async () => undefined),
    report: vi.fn<ProgressService["report"]>(async () => LEGACY),
    readLegacy: vi.fn<ProgressService["readLegacy"]>(async () => LEGACY),
  } satisfies ProgressService;
}

type Changes = Partial<Omit<HttpParts, "config">> & {
  config?: Partial<HttpParts["config"]>;
  courses?: Record<string, CourseTree>;
};

function createApi(changes: Changes = {}) {
  const progress = fakeProgress();
  const metrics = createMetrics();
  const logged: string[] = [];
  const { courses = { c1: { ...TREE, instructorId: "ines" } }, config, ...parts } = changes;
  const api = createHttpApi({
    version: "1.2.3",
    logger: pino({ level: "debug" }, { write: (line: string) => void logged.push(line) }),
    metrics,
    verifyToken: tokens.verify,
    mintToken: tokens.mint,
    accounts: null,
    progress,
    catalogue: fakeCatalogue(courses),
    health: createHealth({ checks: { database: () => ({ ok: true }) } }),
    ...parts,
    config: {
      ALLOWED_ORIGINS: [],
      TRUST_PROXY: false,
      RATE_LIMIT_BURST: 200,
      RATE_LIMIT_PER_SECOND: 20,
      demo: false,
      ...config,
    },
  });

  async function call(
    path: string,
    given: { as?: [string, Role]; method?: string; body?: unknown; headers?: Record<string, string> } = {},
  ) {
    const { as, method = given.body === undefined ? "GET" : "POST", body, headers = {} } = given;
    const response = await api.request(
      `http://playhead.test${path}`,
      {
        method,
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
        headers: {
          host: "playhead.test",
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(as === undefined
            ? {}
            : { authorization: `Bearer ${(await tokens.mint({ userId: as[0], role: as[1] })).token}` }),
          ...headers,
        },
      },
      { remoteAddress: "192.0.2.1" },
    );
    const text = await response.text();
    const isJson = /json/.test(response.headers.get("content-type") ?? "");
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  }
  return { api, call, progress, metrics, logged };
}

const LEARNER: [string, Role] = ["alice", "learner"];
const INSTRUCTOR: [string, Role] = ["ines", "instructor"];
const OTHER: [string, Role] = ["otto", "instructor"];
const ADMIN: [string, Role] = ["root", "admin"];

describe("problems", () => {
  it("answers an unknown address with 404 and the code of the sockets", async () => {
    const { status, headers, body } = await createApi().call("/no/such/thing");
    expect(status).toBe(404);
    expect(headers.get("content-type")).toBe("application/problem+json");
    expect(body).toEqual({
      type: "urn:playhead:error:not_found",
      title: "There is nothing under this name",
      status: 404,
      detail: expect.any(String),
      code: "not_found",
    });
  });

  it("answers a method that an address does not take with 405 and those it takes", async () => {
    const { status, headers, body } = await createApi().call("/v1/courses/c1", { method: "PATCH" });
    expect(status).toBe(405);
    expect(headers.get("allow")).toBe("GET, PUT, DELETE, HEAD");
    expect(body.code).toBe("bad_request");
  });

  it("lists what is wrong in a body, and where", async () => {
    const { status, body } = await createApi().call("/learn/api/progress", {
      as: LEARNER,
      body: { file_id: "", progress_seconds: -1, progress_percentage: 101 },
    });
    expect(status).toBe(400);
    expect(body.code).toBe("bad_request");
    expect(body.issues.map(({ path }: { path: string }) => path)).toEqual([
      "file_id",
      "progress_seconds",
      "progress_percentage",
    ]);
  });

  it("names at most eight of a thousand mistakes", async () => {
    const lessons = Array.from({ length: 400 }, () => ({ id: "", title: "", files: [] }));
    const { body } = await createApi().call("/v1/courses/c1", {
      as: ADMIN,
      method: "PUT",
      body: { title: "x", lessons },
    });
    expect(body.issues).toHaveLength(8);
  });

  it.each([
    ["malformed JSON", "{", 400, "application/json"],
    ["an empty body", "", 400, "application/json"],
    ["a form", "file_id=f1", 415, "application/x-www-form-urlencoded"],
    ["text", "{}", 415, "text/plain"],
  ])("refuses %s where JSON is due", async (_, body, status, type) => {
    const answer = await createApi().call("/learn/api/progress", {
      as: LEARNER,
      method: "POST",
      body,
      headers: { "content-type": type },
    });
    expect(answer.status).toBe(status);
    expect(answer.body.code).toBe("bad_request");
  });

  it("survives 50,000 levels of nesting", async () => {
    const deep = "[".repeat(25_000) + "]".repeat(25_000);
    const { status } = await createApi().call("/learn/api/progress", { as: LEARNER, body: `{"file_id":${deep}}` });
    expect(status).toBe(400);
    const beats = await createApi().call("/v1/heartbeats", { as: LEARNER, body: `{"beats":[${deep}]}` });
    expect(beats.status).toBe(200);
  });

  it("refuses a body past 64 KB with 413, except for a catalogue", async () => {
    const { call } = createApi();
    const long = { title: "x".repeat(70_000), lessons: [] };
    expect((await call("/v1/heartbeats", { as: LEARNER, body: long })).status).toBe(413);
    expect((await call("/v1/courses/c1", { as: ADMIN, method: "PUT", body: long })).status).toBe(400);
  });

  it("shows nothing of an unknown error, and logs it", async () => {
    const { call, progress, logged } = createApi();
    progress.readFile.mockRejectedValue(new Error("password=hunter2"));
    const { status, body } = await call("/v1/progress/files/f1", { as: LEARNER });
    expect(status).toBe(500);
    expect(body.code).toBe("internal");
    expect(JSON.stringify(body)).not.toContain("hunter2");
    expect(logged.join()).toContain("hunter2");
  });

  it("says when to try again, in milliseconds and in a header", async () => {
    const { call, progress } = createApi();
    progress.report.mockRejectedValue(new AppError("overloaded", "too many", { retryAfterMs: 1500 }));
    const { status, headers, body } = await call("/learn/api/progress", {
      as: LEARNER,
      body: { file_id: "f1", progress_seconds: 1 },
    });
    expect(status).toBe(503);
    expect(headers.get("retry-after")).toBe("2");
    expect(body).toMatchObject({ code: "overloaded", retryAfterMs: 1500 });
  });

  it("calls a database that is away unavailable", async () => {
    const { call, progress } = createApi();
    progress.readFile.mockRejectedValue(Object.assign(new Error("terminating connection"), { code: "57P01" }));
    const { status, body } = await call("/v1/progress/files/f1", { as: LEARNER });
    expect(status).toBe(503);
    expect(body).toMatchObject({ code: "unavailable", retryAfterMs: 1000 });
  });
});

describe("who may call", () => {
  it.each([
    ["POST", "/learn/api/progress"],
    ["GET", "/learn/api/progress/file/f1"],
    ["GET", "/learn/api/progress/course/c1"],
    ["GET", "/v1/courses"],
    ["GET", "/v1/courses/c1"],
    ["PUT", "/v1/courses/c1"],
    ["DELETE", "/v1/courses/c1"],
    ["GET", "/v1/courses/c1/learners"],
    ["POST", "/v1/courses/c1/learners/alice/reset"],
    ["POST", "/v1/courses/c1/learners/alice/complete"],
    ["POST", "/v1/courses/c1/learners/alice/uncomplete"],
    ["GET", "/v1/progress/files/f1"],
    ["GET", "/v1/progress/courses/c1"],
    ["POST", "/v1/heartbeats"],
  ])("asks a token for %s %s, before it looks at anything else", async (method, path) => {
    const { call } = createApi();
    const body = method === "POST" ? {} : undefined;
    const { status, headers, body: problem } = await call(path, { method, body });
    expect(status).toBe(401);
    expect(headers.get("www-authenticate")).toBe('Bearer realm="playhead"');
    expect(problem.code).toBe("unauthenticated");
    const forged = await call(path, { method, body, headers: { authorization: "Bearer not.a.token" } });
    expect(forged.status).toBe(401);
  });

  it("limits how much a user may call, and not its neighbour", async () => {
    const { call } = createApi({ config: { RATE_LIMIT_BURST: 5, RATE_LIMIT_PER_SECOND: 1 } });
    const statuses: number[] = [];
    for (let i = 0; i < 8; i += 1) statuses.push((await call("/v1/progress/files/f1", { as: LEARNER })).status);
    expect(statuses.slice(0, 6)).toEqual(Array(6).fill(200));
    expect(statuses.at(-1)).toBe(429);
    const refused = await call("/v1/progress/files/f1", { as: LEARNER });
    expect(refused.body).toMatchObject({ code: "rate_limited", retryAfterMs: expect.any(Number) });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect((await call("/v1/progress/files/f1", { as: ["bob", "learner"] })).status).toBe(200);
  });

  it("limits an address that tries token after token, while good tokens from there still work", async () => {
    const { call } = createApi({ config: { RATE_LIMIT_BURST: 5, RATE_LIMIT_PER_SECOND: 1 } });
    let last = 0;
    for (let i = 0; i < 8; i += 1)
      last = (await call("/v1/courses", { headers: { authorization: "Bearer x" } })).status;
    expect(last).toBe(429);
    expect((await call("/v1/courses", { as: LEARNER })).status).toBe(200);
  });
});

describe("origins", () => {
  const from = (origin: string) => ({ as: LEARNER, headers: { origin } });

  it("lets the server's own pages call, and clients that name no origin", async () => {
    const { call } = createApi();
    expect((await call("/v1/courses", { as: LEARNER })).status).toBe(200);
    const own = await call("/v1/courses", from("https://playhead.test"));
    expect(own.status).toBe(200);
    expect(own.headers.get("access-control-allow-origin")).toBe("https://playhead.test");
  });

  it.each(["https://evil.test", "https://playhead.test.evil.test", "https://playhead.test:444", "null", "rubbish"])(
    "refuses pages of %s",
    async (origin) => {
      const { status, headers, body } = await createApi().call("/v1/courses", from(origin));
      expect(status).toBe(403);
      expect(body.code).toBe("forbidden");
      expect(headers.get("access-control-allow-origin")).toBeNull();
    },
  );

  it("lets listed origins call, compared whole, and tells them about errors too", async () => {
    const { call } = createApi({ config: { ALLOWED_ORIGINS: ["https://app.test"] } });
    const answer = await call("/no/such/thing", from("https://app.test"));
    expect(answer.status).toBe(404);
    expect(answer.headers.get("access-control-allow-origin")).toBe("https://app.test");
    expect(answer.headers.get("vary")).toMatch(/origin/i);
    expect((await call("/v1/courses", from("https://app.test.evil.test"))).status).toBe(403);
  });

  it("lets everybody call where the list says *", async () => {
    const { call } = createApi({ config: { ALLOWED_ORIGINS: ["*"] } });
    expect((await call("/v1/courses", from("null"))).status).toBe(200);
  });

  it("answers a preflight", async () => {
    const { call } = createApi({ config: { ALLOWED_ORIGINS: ["https://app.test"] } });
    const { status, headers } = await call("/v1/courses/c1", {
      method: "OPTIONS",
      headers: {
        origin: "https://app.test",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "authorization",
      },
    });
    expect(status).toBe(204);
    expect(headers.get("access-control-allow-methods")).toContain("PUT");
    expect(headers.get("access-control-allow-headers")).toMatch(/authorization/i);
  });
});

describe("accounts", () => {
  const signedIn = {
    token: "t",
    expiresAt: "2026-11-01T10:00:00.000Z",
    user: {
      id: "u",
      username: "ada",
      email: "ada@example.org",
      firstName: null,
      lastName: null,
      role: "learner" as const,
    },
  };
  const fakeAccounts = () => ({
    register: vi.fn<Accounts["register"]>(async () => signedIn),
    login: vi.fn<Accounts["login"]>(async () => signedIn),
    stop: async () => undefined,
  });

  it("registers with 201 and logs in with 200, from the address that the connection has", async () => {
    const accounts = fakeAccounts();
    const { call } = createApi({ accounts });
    const registered = await call("/v1/auth/register", {
      body: { username: "Ada", email: "ada@example.org", password: "correct horse" },
    });
    expect(registered).toMatchObject({ status: 201, body: signedIn });
    const loggedIn = await call("/v1/auth/login", { body: { username: "Ada", password: "correct horse" } });
    expect(loggedIn).toMatchObject({ status: 200, body: signedIn });
    expect(accounts.login).toHaveBeenCalledWith({ username: "ada", password: "correct horse" }, "192.0.2.1");
  });

  it("believes the proxy's last word about the address, only where the proxy is trusted", async () => {
    const headers = { "x-forwarded-for": "203.0.113.9, 198.51.100.7" };
    for (const [TRUST_PROXY, address] of [
      [true, "198.51.100.7"],
      [false, "192.0.2.1"],
    ] as const) {
      const accounts = fakeAccounts();
      await createApi({ accounts, config: { TRUST_PROXY } }).call("/v1/auth/login", {
        body: { username: "a", password: "b" },
        headers,
      });
      expect(accounts.login).toHaveBeenCalledWith(expect.anything(), address);
    }
  });

  it("says so where accounts are switched off", async () => {
    const { status, body } = await createApi().call("/v1/auth/login", { body: { username: "a", password: "b" } });
    expect(status).toBe(403);
    expect(body.detail).toContain("BUILTIN_ACCOUNTS");
  });

  it("limits the calls of one address", async () => {
    const { call } = createApi({ accounts: fakeAccounts(), config: { RATE_LIMIT_BURST: 3, RATE_LIMIT_PER_SECOND: 1 } });
    let last = 0;
    for (let i = 0; i < 6; i += 1)
      last = (await call("/v1/auth/login", { body: { username: "a", password: "b" } })).status;
    expect(last).toBe(429);
  });
});

describe("the demo", () => {
  it("signs in with one click as the learner and the instructor that are always there", async () => {
    const { call } = createApi({ config: { demo: true } });
    const learner = await call("/v1/demo/sign-in", { body: { as: "learner" } });
    expect(learner.body.user).toMatchObject({ id: "demo-learner", role: "learner" });
    expect(await tokens.verify(learner.body.token)).toMatchObject({ userId: "demo-learner", role: "learner" });
    const instructor = await call("/v1/demo/sign-in", { body: { as: "instructor", name: "Ines" } });
    expect(instructor.body.user).toMatchObject({ id: "demo-instructor", role: "instructor", firstName: "Ines" });
  });

  it("makes a learner of its own where a name or a new one is asked", async () => {
    const { call } = createApi({ config: { demo: true } });
    for (const body of [
      { as: "learner", name: "Bo" },
      { as: "learner", new: true },
    ]) {
      expect((await call("/v1/demo/sign-in", { body })).body.user.id).toMatch(/^demo-learner-[0-9a-f]{6}$/);
    }
  });

  it("gives nobody an admin", async () => {
    expect(
      (await createApi({ config: { demo: true } }).call("/v1/demo/sign-in", { body: { as: "admin" } })).status,
    ).toBe(400);
  });

  it("is not there where the demo does not run", async () => {
    expect((await createApi().call("/v1/demo/sign-in", { body: { as: "learner" } })).status).toBe(404);
  });
});

describe("the older progress interface", () => {
  it("takes and gives the field names of its reference document", async () => {
    const { call, progress } = createApi();
    const row = {
      user_id: "alice",
      file_id: "f1",
      progress_seconds: 120,
      progress_percentage: 50,
      completed: false,
      last_watched: "2026-11-01T10:00:00.000Z",
    };
    const written = await call("/learn/api/progress", {
      as: LEARNER,
      body: { file_id: "f1", progress_seconds: 120, progress_percentage: 50.0, completed: false },
    });
    expect(written).toMatchObject({ status: 200, body: row });
    expect(progress.report).toHaveBeenCalledWith(
      { userId: "alice", connectionId: expect.stringMatching(/^http:/) },
      { fileId: "f1", progressSeconds: 120, progressPercentage: 50, completed: false },
    );
    expect((await call("/learn/api/progress/file/f1", { as: LEARNER })).body).toEqual(row);
    expect((await call("/learn/api/progress/course/c1", { as: LEARNER })).body).toEqual({
      user_id: "alice",
      course_id: "c1",
      total_files: 2,
      completed_files: 1,
      progress_percentage: 55,
      last_updated: "2026-11-01T10:00:00.000Z",
    });
  });

  it("takes ids of any script, percent-encoded", async () => {
    const { call, progress } = createApi();
    await call(`/learn/api/progress/file/${encodeURIComponent("fil\u00e9/1?#%20")}`, { as: LEARNER });
    expect(progress.readLegacy).toHaveBeenCalledWith("alice", "fil\u00e9/1?#%20");
  });
});

describe("one's own progress", () => {
  it("is read for the caller, whoever else is named", async () => {
    const { call, progress } = createApi();
    expect((await call("/v1/progress/files/f1?userId=bob", { as: LEARNER })).body).toEqual(FILE);
    expect((await call("/v1/progress/courses/c1", { as: LEARNER })).body).toMatchObject({
      courseId: "c1",
      files: [FILE],
    });
    expect(progress.readFile).toHaveBeenCalledWith("alice", "f1");
    expect(progress.readCourse).toHaveBeenCalledWith("alice", "c1");
  });

  it("refuses an id of 129 characters", async () => {
    expect((await createApi().call(`/v1/progress/files/${"x".repeat(129)}`, { as: LEARNER })).status).toBe(400);
  });
});

describe("heartbeats of a page that closes", () => {
  const beats = [{ fileId: "f1", position: 7 }];
  const token = async () => (await tokens.mint({ userId: "alice", role: "learner" })).token;

  it("are taken with the token in the header", async () => {
    const { call, progress } = createApi();
    const { status, body } = await call("/v1/heartbeats", { as: LEARNER, body: { beats } });
    expect(status).toBe(200);
    expect(body).toEqual({ ok: true, results: [{ ok: true, progress: FILE, nextBeatMs: 10_000 }] });
    expect(progress.heartbeats).toHaveBeenCalledWith(
      { userId: "alice", connectionId: expect.stringMatching(/^http:/) },
      beats,
    );
  });

  it.each(["application/json", "text/plain;charset=UTF-8"])(
    "are taken with the token in the body, as %s",
    async (type) => {
      const { call, progress } = createApi();
      const body = { beats, token: await token() };
      expect((await call("/v1/heartbeats", { body, headers: { "content-type": type } })).status).toBe(200);
      expect(progress.heartbeats).toHaveBeenCalledWith(expect.objectContaining({ userId: "alice" }), beats);
    },
  );

  it("each have a connection of their own", async () => {
    const { call, progress } = createApi();
    await call("/v1/heartbeats", { as: LEARNER, body: { beats } });
    await call("/v1/heartbeats", { as: LEARNER, body: { beats } });
    const [first, second] = progress.heartbeats.mock.calls.map(([source]) => source.connectionId);
    expect(first).not.toBe(second);
  });

  it.each([
    ["none", { beats: [] }],
    ["101", { beats: Array(101).fill({}) }],
    ["something else", { beats: "many" }],
    ["null", null],
  ])("are refused where there are %s", async (_, body) => {
    const answer = await createApi().call("/v1/heartbeats", { as: LEARNER, body: JSON.stringify(body) });
    expect(answer.status).toBe(400);
  });
});

describe("courses", () => {
  it("are listed page by page, and an instructor's own where asked", async () => {
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

  it("are made with 201, changed with 200, and carry the tag that If-Match names", async () => {
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

  it("read back as what may be put again", async () => {
    const { call } = createApi();
    const { body } = await call("/v1/courses/c1", { as: LEARNER });
    expect((await call("/v1/courses/c1", { as: INSTRUCTOR, method: "PUT", body })).status).toBe(200);
  });

  it("belong to the instructor who makes them, and are handed over only by their own", async () => {
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

  it("are deleted by an admin or their instructor alone", async () => {
    const { call } = createApi();
    expect((await call("/v1/courses/c1", { as: LEARNER, method: "DELETE" })).status).toBe(403);
    expect((await call("/v1/courses/c1", { as: OTHER, method: "DELETE" })).status).toBe(403);
    expect((await call("/v1/courses/c1", { as: INSTRUCTOR, method: "DELETE" })).status).toBe(204);
    expect((await call("/v1/courses/c1", { as: ADMIN, method: "DELETE" })).status).toBe(404);
  });
});

describe("learners of a course", () => {
  it("are listed for its instructor, at most 500 a page", async () => {
    const { call, progress } = createApi();
    const { status, body } = await call("/v1/courses/c1/learners?after=aaa&limit=500", { as: INSTRUCTOR });
    expect(status).toBe(200);
    expect(body).toEqual({ learners: [ROW], next: "alice" });
    expect(progress.learners).toHaveBeenCalledWith("c1", { limit: 500, after: "aaa" });
    expect((await call("/v1/courses/c1/learners?limit=501", { as: INSTRUCTOR })).status).toBe(400);
    expect((await call("/v1/courses/c1/learners", { as: OTHER })).status).toBe(403);
    expect((await call("/v1/courses/c1/learners", { as: LEARNER })).status).toBe(403);
    expect((await call("/v1/courses/none/learners", { as: ADMIN })).status).toBe(404);
  });

  it("are reset, completed and un-completed, in one file or the whole course", async () => {
    const { call, progress } = createApi();
    const post = (verb: string, body?: object) =>
      call(`/v1/courses/c1/learners/alice/${verb}`, { as: INSTRUCTOR, method: "POST", body });
    const { status, body } = await post("reset");
    expect(status).toBe(200);
    expect(body).toMatchObject({ ok: true, progress: { courseId: "c1", files: [FILE] } });
    await post("reset", { fileId: "f1" });
    expect(progress.reset.mock.calls).toEqual([
      ["alice", { courseId: "c1" }, "ines"],
      ["alice", { fileId: "f1" }, "ines"],
    ]);
    await post("complete");
    await post("complete", { fileId: "f1", source: "waived" });
    expect(progress.complete.mock.calls).toEqual([
      ["alice", { courseId: "c1" }, { source: "manual", by: "ines" }],
      ["alice", { fileId: "f1" }, { source: "waived", by: "ines" }],
    ]);
    await post("uncomplete", { fileId: "f1" });
    expect(progress.uncomplete).toHaveBeenCalledWith("alice", { fileId: "f1" }, "ines");
  });

  it("are left alone where the file is another course's, or the caller is not the instructor", async () => {
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

describe("operations", () => {
  it("is alive always, and ready when its checks are", async () => {
    const health = createHealth({ checks: { database: () => ({ ok: false, detail: "away" }) } });
    const { call } = createApi({ health });
    expect((await call("/healthz")).body).toEqual({ status: "ok", uptimeSeconds: expect.any(Number) });
    expect(await call("/readyz")).toMatchObject({
      status: 503,
      body: { ok: false, checks: { database: { ok: false, detail: "away" } } },
    });
    expect((await createApi().call("/readyz")).status).toBe(200);
  });

  it("counts requests by route, never by path", async () => {
    const { call } = createApi();
    await call("/v1/progress/files/one", { as: LEARNER });
    await call("/v1/progress/files/two", { as: LEARNER });
    await call("/made/up");
    await call("/made/up", { method: "BREW" });
    const { headers, body } = await call("/metrics");
    expect(headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(body).toContain(
      'playhead_http_requests_total{method="GET",route="/v1/progress/files/:fileId",status="200"} 2',
    );
    expect(body).toContain('playhead_http_requests_total{method="GET",route="(none)",status="404"} 1');
    expect(body).toContain('playhead_http_requests_total{method="OTHER",route="(none)",status="404"} 1');
    expect(body).not.toContain("made/up");
  });

  it("describes every route in OpenAPI 3.1, with its schemas", async () => {
    const { call } = createApi({ config: { demo: true }, accounts: {} as Accounts });
    const { body } = await call("/openapi.json");
    expect(body.openapi).toBe("3.1.0");
    expect(body.info).toMatchObject({ title: "Playhead", version: "1.2.3" });
    expect(Object.keys(body.paths).sort()).toEqual([
      "/healthz",
      "/learn/api/progress",
      "/learn/api/progress/course/{courseId}",
      "/learn/api/progress/file/{fileId}",
      "/metrics",
      "/readyz",
      "/v1/auth/login",
      "/v1/auth/register",
      "/v1/courses",
      "/v1/courses/{courseId}",
      "/v1/courses/{courseId}/learners",
      "/v1/courses/{courseId}/learners/{userId}/complete",
      "/v1/courses/{courseId}/learners/{userId}/reset",
      "/v1/courses/{courseId}/learners/{userId}/uncomplete",
      "/v1/demo/sign-in",
      "/v1/heartbeats",
      "/v1/progress/courses/{courseId}",
      "/v1/progress/files/{fileId}",
    ]);
    expect(body.components.schemas.FileProgress.properties.watched).toMatchObject({ type: "array" });
    expect(body.paths["/v1/courses/{courseId}"].put.security).toEqual([{ bearer: [] }]);
  });

  it("shows the same as a page that needs neither a script nor the internet", async () => {
    const { headers, body } = await createApi().call("/docs");
    expect(headers.get("content-type")).toMatch(/^text\/html/);
    expect(headers.get("content-security-policy")).toContain("default-src 'self'");
    expect(body).toContain("/v1/courses/{courseId}/learners/{userId}/reset");
    expect(body).toContain("watched: [number, number][]");
    expect(body).not.toMatch(/<script|https?:\/\//);
  });
});
