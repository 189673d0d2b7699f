import { describe, expect, it } from "vitest";
import { ADMIN, createApi, INSTRUCTOR, LEARNER } from "../../../test/helpers/http-api.ts";
import { UserDeleted } from "../../auth/deleted-users.ts";

const EXPORT = "/v1/users/alice/export";
const USER = "/v1/users/alice";

describe.each([
  [EXPORT, "GET", 200],
  [USER, "DELETE", 204],
])("%s %s", (path, method, done) => {
  it("is for the user itself and an admin", async () => {
    const { call } = createApi();
    for (const as of [LEARNER, ADMIN]) expect((await call(path, { as, method })).status).toBe(done);
  });

  it("is forbidden to everybody else, and changes nothing then", async () => {
    const { call, userData } = createApi();
    expect((await call(path, { as: INSTRUCTOR, method })).body.code).toBe("forbidden");
    expect((await call(path.replace("alice", "bob"), { as: LEARNER, method })).body.code).toBe("forbidden");
    expect((await call(path, { method })).status).toBe(401);
    expect(userData.remove).not.toHaveBeenCalled();
    expect(userData.export).not.toHaveBeenCalled();
  });
});

it("answers a repeated deletion by the user itself 204, although its token is refused by now", async () => {
  const verifyToken = async () => {
    throw new UserDeleted("alice");
  };
  const { call, userData } = createApi({ verifyToken });
  expect((await call(USER, { as: LEARNER, method: "DELETE" })).status).toBe(204);
  expect(userData.remove).not.toHaveBeenCalled();
  expect((await call("/v1/users/bob", { as: LEARNER, method: "DELETE" })).body.code).toBe("unauthenticated");
  expect((await call(EXPORT, { as: LEARNER })).body.code).toBe("unauthenticated");
});

it("takes ids with characters that addresses escape", async () => {
  const { call, userData } = createApi();
  expect((await call("/v1/users/a%2Fb%20c/export", { as: ["a/b c", "learner"] })).body).toEqual({ userId: "a/b c" });
  expect((await call("/v1/users/a%2Fb%20c", { as: ["a/b c", "learner"], method: "DELETE" })).status).toBe(204);
  expect(userData.remove).toHaveBeenCalledWith("a/b c");
});
