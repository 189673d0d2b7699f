import { expect, it } from "vitest";
import { ADMIN, createApi, INSTRUCTOR, LEARNER } from "../../../test/helpers/http-api.ts";

const PATH = "/v1/users/alice/profile";

it("lets an admin put a name, and the user read it", async () => {
  const { call } = createApi();
  const put = await call(PATH, { as: ADMIN, method: "PUT", body: { name: "  Alice Liddell " } });
  expect(put).toMatchObject({ status: 200, body: { userId: "alice", name: "Alice Liddell" } });
  expect((await call(PATH, { as: LEARNER })).body).toEqual({ userId: "alice", name: "Alice Liddell" });
  const taken = await call(PATH, { as: ADMIN, method: "PUT", body: { name: null } });
  expect(taken.body).toEqual({ userId: "alice", name: null });
});

it("lets nobody else read or put one", async () => {
  const { call } = createApi();
  expect((await call(PATH, { as: INSTRUCTOR })).status).toBe(403);
  expect((await call("/v1/users/bob/profile", { as: LEARNER })).status).toBe(403);
  expect((await call(PATH, { as: LEARNER, method: "PUT", body: { name: "Root" } })).status).toBe(403);
  expect((await call(PATH)).status).toBe(401);
});

it.each([[{}], [{ name: "" }], [{ name: "x".repeat(501) }], [{ name: "a\u0000b" }], [{ name: "A", role: "admin" }]])(
  "refuses the body %o",
  async (body) => {
    expect((await createApi().call(PATH, { as: ADMIN, method: "PUT", body })).status).toBe(400);
  },
);
