import { describe, expect, it } from "vitest";
import { STREAM } from "../../../test/helpers/fake-streams.ts";
import { ADMIN, createApi, INSTRUCTOR, LEARNER, OTHER } from "../../../test/helpers/http-api.ts";
import { AppError } from "../../errors.ts";
import type { OwnStream } from "../../protocol/stream.ts";

describe("the route that makes a stream", () => {
  it("answers with the key, in an answer that no cache may keep", async () => {
    const { call, streams } = createApi();
    const { status, headers, body } = await call("/v1/streams", { as: LEARNER, body: { title: "Talk" } });
    expect(status).toBe(201);
    expect(body).toEqual({ stream: STREAM, streamKey: "phk_new-key" });
    expect(headers.get("cache-control")).toBe("no-store");
    expect(streams.create).toHaveBeenCalledWith({ title: "Talk", userId: "alice" });
  });

  it("is open only to the roles that may have streams", async () => {
    const { call, streams } = createApi({ config: { STREAM_ROLES: ["instructor"] } });
    const create = (as: typeof ADMIN) => call("/v1/streams", { as, body: { title: "Talk" } });
    expect((await create(INSTRUCTOR)).status).toBe(201);
    expect((await create(LEARNER)).body.code).toBe("forbidden");
    expect((await create(ADMIN)).status).toBe(403);
    expect(streams.create).toHaveBeenCalledTimes(1);
  });

  it("lets only an admin make a stream for somebody else", async () => {
    const { call, streams } = createApi();
    const create = (as: typeof ADMIN, userId: string) => call("/v1/streams", { as, body: { title: "Talk", userId } });
    expect((await create(INSTRUCTOR, "alice")).status).toBe(403);
    expect(streams.create).not.toHaveBeenCalled();
    expect((await create(INSTRUCTOR, "ines")).status).toBe(201);
    expect((await create(ADMIN, "alice")).body.stream.userId).toBe("alice");
  });

  it.each([
    ["no title", {}],
    ["a blank title", { title: "  " }],
    ["an expiry that is no moment", { title: "x", expiresAt: "tomorrow" }],
    ["an unknown policy", { title: "x", policy: "last_wins" }],
    ["a window that is too long", { title: "x", reconnectWindowSeconds: 1801 }],
    ["an array", []],
  ])("refuses %s", async (_, body) => {
    const { call, streams } = createApi();
    expect((await call("/v1/streams", { as: LEARNER, body })).status).toBe(400);
    expect(streams.create).not.toHaveBeenCalled();
  });
});

describe("the routes of streams", () => {
  const owned = { a: {}, b: { userId: "root" }, c: {}, d: { userId: "otto" } };

  it("list, page by page, the caller's own streams, and all streams for an admin", async () => {
    const { call } = createApi({ owned });
    const ids = async (path: string, as = LEARNER) =>
      (await call(path, { as })).body.streams.map(({ id }: OwnStream) => id);
    expect(await ids("/v1/streams")).toEqual(["a", "c"]);
    expect(await ids("/v1/streams", ADMIN)).toEqual(["a", "b", "c", "d"]);
    expect(await ids("/v1/streams?mine=true", ADMIN)).toEqual(["b"]);
    const first = await call("/v1/streams?limit=3", { as: ADMIN });
    expect(first.body).toMatchObject({ streams: [{ id: "a" }, { id: "b" }, { id: "c" }], next: "c" });
    const last = await call("/v1/streams?limit=3&after=c", { as: ADMIN });
    expect(last.body).toEqual({ streams: [expect.objectContaining({ id: "d" })] });
    expect((await call("/v1/streams?limit=201", { as: ADMIN })).status).toBe(400);
  });

  it("let the owner and admins read and change a stream", async () => {
    const { call, streams } = createApi();
    expect((await call("/v1/streams/s1", { as: LEARNER })).body).toEqual({ stream: STREAM });
    expect((await call("/v1/streams/s1", { as: ADMIN })).status).toBe(200);
    const change = { as: LEARNER, method: "PATCH", body: { title: "Other", expiresAt: null } };
    expect((await call("/v1/streams/s1", change)).body.stream.title).toBe("Other");
    expect(streams.change).toHaveBeenCalledWith("s1", { title: "Other", expiresAt: null });
    expect((await call("/v1/streams/s1", { as: LEARNER, method: "DELETE" })).status).toBe(204);
    expect(streams.remove).toHaveBeenCalledWith("s1");
  });

  it.each([
    ["GET", ""],
    ["PATCH", ""],
    ["DELETE", ""],
    ["POST", "/rotate"],
    ["POST", "/revoke"],
    ["POST", "/disable"],
    ["POST", "/enable"],
    ["GET", "/sessions"],
  ])("answer 404 if another than the owner calls %s %s", async (method, verb) => {
    const { call, streams } = createApi();
    const body = method === "PATCH" ? { title: "Mine" } : undefined;
    const others = await call(`/v1/streams/s1${verb}`, { as: OTHER, method, body });
    const nobodys = await call(`/v1/streams/none${verb}`, { as: OTHER, method, body });
    expect(others.status).toBe(404);
    expect(others.body).toEqual(nobodys.body);
    const { create: _, list: __, get: ___, ...rest } = streams;
    for (const called of Object.values(rest)) expect(called).not.toHaveBeenCalled();
  });

  it("rotate the key, with a grace only on request", async () => {
    const { call, streams } = createApi();
    const { status, headers, body } = await call("/v1/streams/s1/rotate", { as: LEARNER, method: "POST" });
    expect(status).toBe(200);
    expect(body).toEqual({ stream: STREAM, streamKey: "phk_new-key" });
    expect(headers.get("cache-control")).toBe("no-store");
    await call("/v1/streams/s1/rotate", { as: LEARNER, body: {} });
    await call("/v1/streams/s1/rotate", { as: LEARNER, body: { graceSeconds: 60 } });
    expect(streams.rotate.mock.calls).toEqual([
      ["s1", 0],
      ["s1", 0],
      ["s1", 60],
    ]);
  });

  it("keep the key if the grace cannot be read", async () => {
    const { call, streams } = createApi();
    const rotate = (body: unknown, type = "application/json") =>
      call("/v1/streams/s1/rotate", { as: LEARNER, method: "POST", body, headers: { "content-type": type } });
    expect((await rotate({ graceSeconds: -1 })).status).toBe(400);
    expect((await rotate('{"graceSeconds":60}', "application/x-www-form-urlencoded")).status).toBe(415);
    expect(streams.rotate).not.toHaveBeenCalled();
  });

  it("revoke, disable and enable a stream", async () => {
    const { call, streams } = createApi();
    const post = (verb: string) => call(`/v1/streams/s1/${verb}`, { as: LEARNER, method: "POST" });
    expect((await post("revoke")).body).toEqual({ stream: { ...STREAM, status: "revoked" } });
    expect((await post("disable")).body.stream.status).toBe("disabled");
    expect((await post("enable")).body.stream.status).toBe("ready");
    streams.enable.mockRejectedValue(new AppError("conflict", "It is revoked."));
    expect((await post("enable")).status).toBe(409);
  });

  it("list the sessions of a stream, the newest first", async () => {
    const { call, streams } = createApi();
    const first = await call("/v1/streams/s1/sessions?limit=2", { as: LEARNER });
    expect(first.body).toMatchObject({ sessions: [{ id: 3 }, { id: 2 }], next: 2 });
    const last = await call("/v1/streams/s1/sessions?limit=2&before=2", { as: LEARNER });
    expect(last.body).toEqual({ sessions: [expect.objectContaining({ id: 1 })] });
    expect(streams.sessions).toHaveBeenLastCalledWith("s1", { limit: 3, before: 2 });
    expect((await call("/v1/streams/s1/sessions?before=x", { as: LEARNER })).status).toBe(400);
  });

  it("never answer with a key, except when they make one", async () => {
    const leaky = { streamKey: "phk_secret", keyHash: "phk_secret" } as Partial<OwnStream>;
    const { call } = createApi({ owned: { s1: leaky } });
    const answers = [
      await call("/v1/streams", { as: LEARNER }),
      await call("/v1/streams/s1", { as: LEARNER }),
      await call("/v1/streams/s1", { as: LEARNER, method: "PATCH", body: {} }),
      await call("/v1/streams/s1/revoke", { as: LEARNER, method: "POST" }),
      await call("/v1/streams/s1/disable", { as: LEARNER, method: "POST" }),
      await call("/v1/streams/s1/enable", { as: LEARNER, method: "POST" }),
    ];
    expect(answers.map(({ status }) => status)).toEqual(Array(answers.length).fill(200));
    expect(JSON.stringify(answers)).not.toContain("phk_secret");
  });
});
