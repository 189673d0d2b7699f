import { expect, it, vi } from "vitest";
import { ADMIN, createApi, INSTRUCTOR, LEARNER } from "../../../test/helpers/http-api.ts";
import type { StatementStore } from "../../xapi/statement-store.ts";

function createRoutes(config = {}) {
  const xapi = {
    list: vi.fn<StatementStore["list"]>(async () => ({ statements: [], cursor: null })),
    refused: vi.fn<StatementStore["refused"]>(async () => ({ refused: [] })),
    retry: vi.fn<StatementStore["retry"]>(async () => 1),
  };
  return { ...createApi({ xapi, ...config }), xapi };
}
const agentOf = (name: string) =>
  encodeURIComponent(JSON.stringify({ account: { homePage: "https://learn.example.org", name } }));

it("lists an admin everybody's statements, in the shape of a record store", async () => {
  const { call, xapi } = createRoutes();
  const answer = await call("/v1/xapi/statements?verb=completed&limit=5&ascending=true", { as: ADMIN });
  expect(answer).toMatchObject({ status: 200, body: { statements: [], more: "" } });
  expect(answer.headers.get("x-experience-api-version")).toBe("1.0.3");
  expect(xapi.list).toHaveBeenCalledWith({ verb: "completed", limit: 5, ascending: true });
});

it("gives the next page's address with the same question", async () => {
  const { call, xapi } = createRoutes();
  const cursor = "2026-11-01T10:00:00.000Z_17";
  xapi.list.mockResolvedValueOnce({ statements: [], cursor });
  const { body } = await call("/v1/xapi/statements?since=2026-11-01T09:00:00%2B02:00&limit=1", { as: ADMIN });
  const { more } = body as { more: string };
  await call(more, { as: ADMIN });
  expect(xapi.list).toHaveBeenLastCalledWith({ since: "2026-11-01T09:00:00+02:00", limit: 1, cursor });
});

it("shows a learner and an instructor their own statements alone", async () => {
  const { call, xapi } = createRoutes();
  for (const as of [LEARNER, INSTRUCTOR]) {
    expect((await call("/v1/xapi/statements", { as })).status).toBe(200);
    expect(xapi.list.mock.lastCall?.[0].agent).toEqual({ name: expect.any(String), homePage: null });
    const own = xapi.list.mock.lastCall?.[0].agent?.name ?? "";
    expect((await call(`/v1/xapi/statements?agent=${agentOf(own)}`, { as })).status).toBe(200);
    expect(xapi.list.mock.lastCall?.[0].agent).toEqual({ name: own, homePage: "https://learn.example.org" });
    expect((await call(`/v1/xapi/statements?agent=${agentOf("another")}`, { as })).status).toBe(403);
    expect((await call("/v1/xapi/statements?agent=another", { as })).status).toBe(403);
    for (const [path, method] of [
      ["/v1/xapi/refused", "GET"],
      ["/v1/xapi/refused/retry", "POST"],
    ] as const)
      expect((await call(path, { as, method })).status).toBe(403);
  }
  expect((await call("/v1/xapi/statements")).status).toBe(401);
});

it.each([
  "agent={",
  "agent=%7B%22account%22",
  "since=yesterday",
  "until=2026-11-01",
  "cursor=17",
  "limit=501",
  "limit=-1",
  "statementId=1",
  "ascending=yes",
  "agent=",
])("refuses the question %s", async (query) => {
  const { call } = createRoutes();
  expect(await call(`/v1/xapi/statements?${query}`, { as: ADMIN })).toMatchObject({
    status: 400,
    body: { code: "bad_request" },
  });
});

it("lists refused statements, and sends one or all of them again", async () => {
  const { call, xapi } = createRoutes();
  expect((await call("/v1/xapi/refused?limit=2&before=9", { as: ADMIN })).body).toEqual({ refused: [] });
  expect(xapi.refused).toHaveBeenCalledWith({ limit: 2, before: "9" });
  const statementId = "9d1a9f3e-6b0a-4b43-8f3e-2b1f6a0c7d55";
  const body = { statementId };
  expect((await call("/v1/xapi/refused/retry", { as: ADMIN, body })).body).toEqual({ retried: 1 });
  expect(xapi.retry).toHaveBeenLastCalledWith(statementId);
  await call("/v1/xapi/refused/retry", { as: ADMIN, method: "POST" });
  expect(xapi.retry).toHaveBeenLastCalledWith(undefined);
});
