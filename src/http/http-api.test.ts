import { describe, expect, it } from "vitest";
import { ADMIN, createApi, LEARNER } from "../../test/helpers/http-api.ts";
import type { Accounts } from "../auth/accounts.ts";
import { AppError } from "../errors.ts";
import { createHealth } from "./operations/health.ts";

describe("a problem", () => {
  it("answers an unknown address, with 404 and the same code as on the socket", async () => {
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

  it("answers a method that an address does not take, with 405 and the methods that it takes", async () => {
    const { status, headers, body } = await createApi().call("/v1/courses/c1", { method: "PATCH" });
    expect(status).toBe(405);
    expect(headers.get("allow")).toBe("GET, PUT, DELETE, HEAD");
    expect(body.code).toBe("bad_request");
  });

  it("lists the mistakes in a body with their places", async () => {
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

  it("lists at most eight of a thousand mistakes", async () => {
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
  ])("refuses %s in place of JSON", async (_, body, status, type) => {
    const answer = await createApi().call("/learn/api/progress", {
      as: LEARNER,
      method: "POST",
      body,
      headers: { "content-type": type },
    });
    expect(answer.status).toBe(status);
    expect(answer.body.code).toBe("bad_request");
  });

  it("answers a body with 50,000 levels of nesting", async () => {
    const deep = "[".repeat(25_000) + "]".repeat(25_000);
    const { status } = await createApi().call("/learn/api/progress", { as: LEARNER, body: `{"file_id":${deep}}` });
    expect(status).toBe(400);
    const beats = await createApi().call("/v1/heartbeats", { as: LEARNER, body: `{"beats":[${deep}]}` });
    expect(beats.status).toBe(200);
  });

  it("refuses a body over 64 KB with 413, unless it is a catalogue", async () => {
    const { call } = createApi();
    const long = { title: "x".repeat(70_000), lessons: [] };
    expect((await call("/v1/heartbeats", { as: LEARNER, body: long })).status).toBe(413);
    expect((await call("/v1/courses/c1", { as: ADMIN, method: "PUT", body: long })).status).toBe(400);
  });

  it("shows nothing of an unknown error, which is logged", async () => {
    const { call, progress, logged } = createApi();
    progress.readFile.mockRejectedValue(new Error("password=hunter2"));
    const { status, body } = await call("/v1/progress/files/f1", { as: LEARNER });
    expect(status).toBe(500);
    expect(body.code).toBe("internal");
    expect(JSON.stringify(body)).not.toContain("hunter2");
    expect(logged.join()).toContain("hunter2");
  });

  it("says when to try again, in milliseconds and in the header Retry-After", async () => {
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

  it("has the code unavailable while the database is away", async () => {
    const { call, progress } = createApi();
    progress.readFile.mockRejectedValue(Object.assign(new Error("terminating connection"), { code: "57P01" }));
    const { status, body } = await call("/v1/progress/files/f1", { as: LEARNER });
    expect(status).toBe(503);
    expect(body).toMatchObject({ code: "unavailable", retryAfterMs: 1000 });
  });
});

describe("the API", () => {
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
    ["POST", "/v1/streams"],
    ["GET", "/v1/streams"],
    ["GET", "/v1/streams/s1"],
    ["PATCH", "/v1/streams/s1"],
    ["DELETE", "/v1/streams/s1"],
    ["POST", "/v1/streams/s1/rotate"],
    ["POST", "/v1/streams/s1/revoke"],
    ["POST", "/v1/streams/s1/disable"],
    ["POST", "/v1/streams/s1/enable"],
    ["GET", "/v1/streams/s1/sessions"],
  ])("needs a token for %s %s, and checks it before anything else", async (method, path) => {
    const { call } = createApi();
    const body = method === "POST" ? {} : undefined;
    const { status, headers, body: problem } = await call(path, { method, body });
    expect(status).toBe(401);
    expect(headers.get("www-authenticate")).toBe('Bearer realm="playhead"');
    expect(problem.code).toBe("unauthenticated");
    const forged = await call(path, { method, body, headers: { authorization: "Bearer not.a.token" } });
    expect(forged.status).toBe(401);
  });

  it("limits the calls of a user, without limiting another user", async () => {
    const { call } = createApi({ config: { RATE_LIMIT_BURST: 5, RATE_LIMIT_PER_SECOND: 1 } });
    const statuses: number[] = [];
    for (let i = 0; i < 8; i += 1) statuses.push((await call("/v1/progress/files/f1", { as: LEARNER })).status);
    expect(statuses.slice(0, 5)).toEqual(Array(5).fill(200));
    expect(statuses.at(-1)).toBe(429);
    const refused = await call("/v1/progress/files/f1", { as: LEARNER });
    expect(refused.body).toMatchObject({ code: "rate_limited", retryAfterMs: expect.any(Number) });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect((await call("/v1/progress/files/f1", { as: ["bob", "learner"] })).status).toBe(200);
  });

  it("limits an address that tries many tokens, while valid tokens from there still work", async () => {
    const { call } = createApi({ config: { RATE_LIMIT_BURST: 5, RATE_LIMIT_PER_SECOND: 1 } });
    let last = 0;
    for (let i = 0; i < 8; i += 1)
      last = (await call("/v1/courses", { headers: { authorization: "Bearer x" } })).status;
    expect(last).toBe(429);
    expect((await call("/v1/courses", { as: LEARNER })).status).toBe(200);
  });
});

describe("the check of origins", () => {
  const from = (origin: string) => ({ as: LEARNER, headers: { origin } });

  it("lets the server's own pages call, and clients that send no origin", async () => {
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

  it("lets listed origins call, compares them as a whole, and lets them read errors too", async () => {
    const { call } = createApi({ config: { ALLOWED_ORIGINS: ["https://app.test"] } });
    const answer = await call("/no/such/thing", from("https://app.test"));
    expect(answer.status).toBe(404);
    expect(answer.headers.get("access-control-allow-origin")).toBe("https://app.test");
    expect(answer.headers.get("vary")).toMatch(/origin/i);
    expect((await call("/v1/courses", from("https://app.test.evil.test"))).status).toBe(403);
  });

  it("lets all origins call if the list has *", async () => {
    const { call } = createApi({ config: { ALLOWED_ORIGINS: ["*"] } });
    expect((await call("/v1/courses", from("null"))).status).toBe(200);
  });

  it("answers a preflight with the methods and headers that may be used", async () => {
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
    expect(headers.get("access-control-allow-methods")).toMatch(/PUT.*PATCH/);
    expect(headers.get("access-control-allow-headers")).toMatch(/authorization/i);
  });
});

describe("the routes of operations", () => {
  it("answer that the process is alive, and whether its checks are ok", async () => {
    const health = createHealth({ checks: { database: () => ({ ok: false, detail: "away" }) } });
    const { call } = createApi({ health });
    expect((await call("/healthz")).body).toEqual({ status: "ok", uptimeSeconds: expect.any(Number) });
    expect(await call("/readyz")).toMatchObject({
      status: 503,
      body: { ok: false, checks: { database: { ok: false, detail: "away" } } },
    });
    expect((await createApi().call("/readyz")).status).toBe(200);
  });

  it("count requests by route, never by path", async () => {
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

  it("describe every route in OpenAPI 3.1, with its schemas", async () => {
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
      "/v1/courses/{courseId}/learners/{userId}",
      "/v1/courses/{courseId}/learners/{userId}/complete",
      "/v1/courses/{courseId}/learners/{userId}/reset",
      "/v1/courses/{courseId}/learners/{userId}/uncomplete",
      "/v1/demo/sign-in",
      "/v1/files/{fileId}/learners",
      "/v1/heartbeats",
      "/v1/hooks/mediamtx",
      "/v1/hooks/nginx-rtmp/on_publish",
      "/v1/hooks/nginx-rtmp/on_publish_done",
      "/v1/hooks/nginx-rtmp/on_update",
      "/v1/hooks/ovenmediaengine",
      "/v1/hooks/srs",
      "/v1/lessons/{lessonId}/learners",
      "/v1/progress",
      "/v1/progress/courses/{courseId}",
      "/v1/progress/files/{fileId}",
      "/v1/streams",
      "/v1/streams/{streamId}",
      "/v1/streams/{streamId}/disable",
      "/v1/streams/{streamId}/enable",
      "/v1/streams/{streamId}/revoke",
      "/v1/streams/{streamId}/rotate",
      "/v1/streams/{streamId}/sessions",
      "/v1/users/{userId}",
      "/v1/users/{userId}/cuts",
      "/v1/users/{userId}/export",
      "/v1/users/{userId}/profile",
      "/v1/webhooks",
      "/v1/webhooks/{webhookId}",
      "/v1/webhooks/{webhookId}/deliveries",
      "/v1/webhooks/{webhookId}/retry",
      "/v1/webhooks/{webhookId}/rotate",
      "/v1/xapi/refused",
      "/v1/xapi/refused/retry",
      "/v1/xapi/statements",
    ]);
    expect(body.components.schemas.FileProgress.properties.watched).toMatchObject({ type: "array" });
    expect(body.paths["/v1/courses/{courseId}"].put.security).toEqual([{ bearer: [] }]);
  });

  it("describe the sockets too, with a page that needs neither a script nor the internet", async () => {
    const { call } = createApi();
    expect((await call("/asyncapi.json")).body).toMatchObject({ asyncapi: "3.0.0", info: { version: "1.2.3" } });
    const { headers, body } = await call("/docs/sockets");
    expect(headers.get("content-type")).toMatch(/^text\/html/);
    expect(headers.get("content-security-policy")).toContain("default-src 'self'");
    expect(body).not.toMatch(/<script|https?:\/\//);
  });
});
