import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * The HTTP API of the whole server: accounts, the catalogue, progress, and the pages for operators.
 */

const COURSE = {
  title: "Rivers",
  instructorId: "ines",
  lessons: [
    { id: "l1", title: "Sources", files: [{ id: "f1", title: "Springs", durationSeconds: 100 }] },
    { id: "l2", title: "Mouths", files: [{ id: "f2", title: "Deltas", durationSeconds: 300 }] },
  ],
};

let database: TestDatabase;
let server: ServerProcess;
const tokens = new Map<string, string>();

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startServerProcess({ env: serverEnv(database) });
  for (const [user, role] of [
    ["ines", "instructor"],
    ["otto", "instructor"],
    ["root", "admin"],
    ["lea", "learner"],
    ["luc", "learner"],
  ] as const) {
    tokens.set(user, await mintToken(user, role));
  }
});
afterAll(async () => {
  const code = await server.stop();
  await database.drop();
  expect(code).toBe(0);
});

async function call(
  user: string | null,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
) {
  const response = await fetch(server.url + path, {
    method,
    headers: {
      ...(user === null ? {} : { authorization: `Bearer ${tokens.get(user) ?? user}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("json") === true;
  return {
    status: response.status,
    headers: response.headers,
    type: response.headers.get("content-type"),
    body: isJson ? JSON.parse(text) : text,
  };
}

describe("accounts", () => {
  it("give a registered user a token that the API accepts", async () => {
    const account = { username: "nora", email: "nora@example.org", password: "correct horse battery" };
    const registered = await call(null, "POST", "/v1/auth/register", account);
    expect(registered).toMatchObject({
      status: 201,
      body: { token: expect.any(String), user: { username: "nora", role: "learner" } },
    });
    expect(await call(null, "POST", "/v1/auth/register", account)).toMatchObject({
      status: 409,
      body: { code: "conflict" },
    });
    const wrong = await call(null, "POST", "/v1/auth/login", { username: "nora", password: "wrong password" });
    expect(wrong).toMatchObject({ status: 401, type: "application/problem+json", body: { code: "unauthenticated" } });
    const { body } = await call(null, "POST", "/v1/auth/login", {
      email: "nora@example.org",
      password: account.password,
    });
    expect(Date.parse(body.expiresAt)).toBeGreaterThan(Date.now());
    expect(await call(body.token, "GET", "/v1/courses")).toMatchObject({ status: 200 });
    const [row] = await database.query("SELECT password FROM users WHERE username = 'nora'");
    expect(row?.password).toMatch(/^\$2[aby]\$/);
  });
});

describe("the catalogue", () => {
  it("takes a course from its instructor or an admin, once however often it is put, and only with the current tag", async () => {
    expect(await call("lea", "PUT", "/v1/courses/rivers", COURSE)).toMatchObject({
      status: 403,
      body: { code: "forbidden" },
    });
    const created = await call("ines", "PUT", "/v1/courses/rivers", COURSE);
    expect(created.status).toBe(201);
    const tag = created.headers.get("etag") as string;
    expect((await call("root", "PUT", "/v1/courses/rivers", COURSE)).headers.get("etag")).toBe(tag);
    expect(await call("otto", "PUT", "/v1/courses/rivers", COURSE)).toMatchObject({ status: 403 });
    expect(await call("ines", "PUT", "/v1/courses/rivers", COURSE, { "if-match": '"other"' })).toMatchObject({
      status: 412,
      body: { code: "conflict" },
    });
    expect(await call("ines", "PUT", "/v1/courses/rivers", { ...COURSE, lessons: [{ id: "l1" }] })).toMatchObject({
      status: 400,
      body: { code: "bad_request" },
    });
    expect(await call("lea", "GET", "/v1/courses/rivers")).toMatchObject({
      status: 200,
      body: { id: "rivers", title: "Rivers" },
    });
    expect((await call("lea", "GET", "/v1/courses")).body.courses).toContainEqual(
      expect.objectContaining({ id: "rivers" }),
    );
    const taken = { title: "Other", lessons: [{ id: "l1", title: "Stolen", files: [] }] };
    expect(await call("otto", "PUT", "/v1/courses/other", taken)).toMatchObject({
      status: 409,
      body: { code: "conflict" },
    });
  });
});

describe("progress", () => {
  it("is read and reported by the older interface, in its field names", async () => {
    const report = { file_id: "f1", progress_seconds: 50, progress_percentage: 50, completed: false };
    const row = {
      user_id: "lea",
      file_id: "f1",
      progress_seconds: 50,
      progress_percentage: 50,
      completed: false,
      last_watched: expect.any(String),
    };
    expect(await call("lea", "POST", "/learn/api/progress", report)).toMatchObject({ status: 200, body: row });
    expect((await call("lea", "GET", "/learn/api/progress/file/f1")).body).toEqual(row);
    expect((await call("lea", "GET", "/learn/api/progress/course/rivers")).body).toEqual({
      user_id: "lea",
      course_id: "rivers",
      total_files: 2,
      completed_files: 0,
      progress_percentage: 12.5,
      last_updated: expect.any(String),
    });
    expect(await call("lea", "POST", "/learn/api/progress", { file_id: "nowhere", progress_seconds: 1 })).toMatchObject(
      { status: 404, body: { code: "unknown_file" } },
    );
    expect(await call(null, "GET", "/learn/api/progress/file/f1")).toMatchObject({
      status: 401,
      body: { code: "unauthenticated" },
    });
  });

  it("is taken from a closing page, which sends its token in the body", async () => {
    const token = tokens.get("luc");
    const response = await fetch(`${server.url}/v1/heartbeats`, {
      method: "POST",
      headers: { "content-type": "text/plain" },
      body: JSON.stringify({
        token,
        beats: [
          { fileId: "f2", position: 8, played: [[0, 8]] },
          { fileId: "f2", position: -1 },
        ],
      }),
    });
    expect(await response.json()).toMatchObject({
      ok: true,
      results: [
        { ok: true, progress: { fileId: "f2", watchedSeconds: 8 } },
        { ok: false, error: { code: "bad_request" } },
      ],
    });
    expect((await call("luc", "GET", "/v1/progress/courses/rivers")).body).toMatchObject({
      userId: "luc",
      percentage: 2,
      totalDuration: 400,
      watchedDuration: 8,
    });
  });

  it("is completed, un-completed and reset by the course's instructor or an admin, and by nobody else", async () => {
    const path = "/v1/courses/rivers/learners/luc";
    expect(await call("otto", "POST", `${path}/complete`, {})).toMatchObject({ status: 403 });
    expect(await call("luc", "POST", `${path}/complete`, {})).toMatchObject({ status: 403 });
    expect(await call("ines", "POST", `${path}/complete`, { fileId: "f1", source: "waived" })).toMatchObject({
      status: 200,
      body: { ok: true, progress: { completedFiles: 1 } },
    });
    expect(await call("ines", "POST", `${path}/uncomplete`, { fileId: "f1" })).toMatchObject({
      body: { progress: { completedFiles: 0 } },
    });
    expect(await call("root", "POST", `${path}/reset`)).toMatchObject({
      body: { progress: { watchedDuration: 0, percentage: 0 } },
    });
    expect(await call("ines", "POST", `${path}/reset`, { fileId: "nowhere" })).toMatchObject({ status: 404 });
    expect((await call("ines", "GET", "/v1/courses/rivers/learners?limit=1")).body).toMatchObject({
      learners: [{ userId: "lea" }],
      next: "lea",
    });
    expect(await call("lea", "GET", "/v1/courses/rivers/learners")).toMatchObject({ status: 403 });
  });
});

describe("operators", () => {
  it("see that the server is alive and ready, and read its metrics", async () => {
    expect(await call(null, "GET", "/healthz")).toMatchObject({ status: 200, body: { status: "ok" } });
    expect(await call(null, "GET", "/readyz")).toMatchObject({
      status: 200,
      body: { ok: true, checks: { database: { ok: true }, listener: { ok: true }, migrations: { ok: true } } },
    });
    const { body } = await call(null, "GET", "/metrics");
    for (const name of [
      "heartbeats_total",
      "heartbeat_ack_seconds_bucket",
      "batch_size_bucket",
      "flush_seconds_bucket",
      "db_pool_connections",
      "sockets",
      "topics",
      "frames_total",
      "relay_lag_seconds",
      "db_notification_queue_usage",
    ]) {
      expect(body).toContain(`playhead_${name}`);
    }
    expect(body).toMatch(/playhead_heartbeats_total\{outcome="ok"\} [1-9]/);
  });

  it("read a description of every route", async () => {
    const { body } = await call(null, "GET", "/openapi.json");
    expect(Object.keys(body.paths)).toEqual(
      expect.arrayContaining([
        "/learn/api/progress",
        "/v1/courses/{courseId}",
        "/v1/heartbeats",
        "/v1/courses/{courseId}/learners",
      ]),
    );
    expect(await call(null, "GET", "/docs/sockets")).toMatchObject({ status: 200 });
    expect(await call(null, "GET", "/nowhere")).toMatchObject({
      status: 404,
      type: "application/problem+json",
      body: { code: "not_found" },
    });
  });

  it("see a deleted course go with all progress in it", async () => {
    expect(await call("otto", "DELETE", "/v1/courses/rivers")).toMatchObject({ status: 403 });
    expect(await call("ines", "DELETE", "/v1/courses/rivers")).toMatchObject({ status: 204 });
    expect(await call("ines", "GET", "/v1/courses/rivers")).toMatchObject({ status: 404 });
    expect(await database.query("SELECT FROM user_progress")).toEqual([]);
  });
});
