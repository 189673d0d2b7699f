import { describe, expect, it } from "vitest";
import { ADMIN, createApi, FILE, LEARNER, tokens } from "../../../test/helpers/http-api.ts";

describe("the older progress interface", () => {
  it("uses the field names of its reference document", async () => {
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

  it("takes a little more than 100 percent as 100", async () => {
    const { call, progress } = createApi();
    const body = { file_id: "f1", progress_seconds: 74.608, progress_percentage: 100.03, completed: true };
    expect(await call("/learn/api/progress", { as: LEARNER, body })).toMatchObject({ status: 200 });
    expect(progress.report).toHaveBeenCalledWith(expect.anything(), {
      fileId: "f1",
      progressSeconds: 74.608,
      progressPercentage: 100,
      completed: true,
    });
  });

  it("takes ids in any script, percent-encoded", async () => {
    const { call, progress } = createApi();
    await call(`/learn/api/progress/file/${encodeURIComponent("fil\u00e9/1?#%20")}`, { as: LEARNER });
    expect(progress.readLegacy).toHaveBeenCalledWith("alice", "fil\u00e9/1?#%20");
  });
});

describe("the read of one's own progress", () => {
  it("reads the caller's progress, even if the query names another user", async () => {
    const { call, progress } = createApi();
    expect((await call("/v1/progress/files/f1?userId=bob", { as: LEARNER })).body).toEqual(FILE);
    expect((await call("/v1/progress/courses/c1", { as: LEARNER })).body).toMatchObject({
      courseId: "c1",
      files: [FILE],
    });
    expect(progress.readFile).toHaveBeenCalledWith("alice", "f1", undefined);
    expect(progress.readCourse).toHaveBeenCalledWith("alice", "c1", undefined);
  });

  it("asks for a version that is at least the one the caller was acked", async () => {
    const { call, progress } = createApi();
    await call("/v1/progress/files/f1?minVersion=17", { as: LEARNER });
    await call("/v1/progress/courses/c1?minVersion=18", { as: LEARNER });
    expect(progress.readFile).toHaveBeenCalledWith("alice", "f1", 17);
    expect(progress.readCourse).toHaveBeenCalledWith("alice", "c1", 18);
    expect((await call("/v1/progress/files/f1?minVersion=-1", { as: LEARNER })).status).toBe(400);
  });

  it("refuses an id of 129 characters", async () => {
    expect((await createApi().call(`/v1/progress/files/${"x".repeat(129)}`, { as: LEARNER })).status).toBe(400);
  });
});

describe("the route for heartbeats of a page that closes", () => {
  const beats = [{ fileId: "f1", position: 7 }];
  const token = async () => (await tokens.mint({ userId: "alice", role: "learner" })).token;

  it("takes them with the token in the header", async () => {
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
    "takes them with the token in the body, as %s",
    async (type) => {
      const { call, progress } = createApi();
      const body = { beats, token: await token() };
      expect((await call("/v1/heartbeats", { body, headers: { "content-type": type } })).status).toBe(200);
      expect(progress.heartbeats).toHaveBeenCalledWith(expect.objectContaining({ userId: "alice" }), beats);
    },
  );

  it("gives every request a connection of its own", async () => {
    const { call, progress } = createApi();
    await call("/v1/heartbeats", { as: LEARNER, body: { beats } });
    await call("/v1/heartbeats", { as: LEARNER, body: { beats } });
    const [first, second] = progress.heartbeats.mock.calls.map(([source]) => source.connectionId);
    expect(first).not.toBe(second);
  });

  it.each([
    ["empty", { beats: [] }],
    ["101 beats long", { beats: Array(101).fill({}) }],
    ["no list", { beats: "many" }],
    ["null", null],
  ])("refuses a list that is %s", async (_, body) => {
    const answer = await createApi().call("/v1/heartbeats", { as: LEARNER, body: JSON.stringify(body) });
    expect(answer.status).toBe(400);
  });
});

describe("the cuts of a user", () => {
  it("are told to an admin alone", async () => {
    const { call, progress } = createApi();
    const admin = await call("/v1/users/alice/cuts", { as: ADMIN });
    expect(admin).toMatchObject({ status: 200, body: { userId: "alice", cutSeconds: 1.5, beats: 2 } });
    expect(await call("/v1/users/alice/cuts", { as: LEARNER })).toMatchObject({ status: 403 });
    expect(progress.cutsOf).toHaveBeenCalledTimes(1);
  });
});
