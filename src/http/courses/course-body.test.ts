import { describe, expect, it, vi } from "vitest";
import { ADMIN, createApi, INSTRUCTOR, LEARNER, OTHER, TREE, tokens } from "../../../test/helpers/http-api.ts";
import type { Role } from "../../protocol/roles.ts";

const BURST = 200;
const MB = 1024 * 1024;

/** A body that never ends, and counts how often it was asked for more. */
function createEndlessBody() {
  let asked = 0;
  const stream = new ReadableStream<Uint8Array>(
    {
      pull: () => {
        asked += 1;
        return new Promise(() => undefined);
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, asked: () => asked };
}

describe("the body of a course", () => {
  it("counts as one call for every 64 KB, whether its length was announced or not", async () => {
    const title = "x".repeat(2 * MB - 100);
    for (const headers of [{ "content-length": String(2 * MB) }, {}]) {
      const { call } = createApi();
      const put = () => call("/v1/courses/new", { as: ADMIN, method: "PUT", body: { ...TREE, title }, headers });
      const statuses: number[] = [];
      for (let i = 0; i < 8; i++) statuses.push((await put()).status);
      const taken = Math.floor(BURST / 32);
      expect(statuses).toEqual([...Array(taken).fill(400), ...Array(8 - taken).fill(429)]);
    }
  });

  it("counts as one call where it is short", async () => {
    const { call } = createApi();
    for (let i = 0; i < 50; i++) {
      expect((await call("/v1/courses/new", { as: ADMIN, method: "PUT", body: TREE })).status).toBeLessThan(300);
    }
  });

  it("is not read where the caller may not send it, or has no calls left", async () => {
    const { api } = createApi();
    const learners = createEndlessBody();
    expect((await put(api, await mint(LEARNER), learners.stream)).status).toBe(403);
    const forged = createEndlessBody();
    expect((await put(api, "not.a.token", forged.stream)).status).toBe(401);
    const announced = { "content-length": String(2 * MB) };
    const admin = await mint(ADMIN);
    for (let i = 0; i < 6; i++) {
      expect((await put(api, admin, new Blob(["{"]).stream(), announced)).status).toBe(400);
    }
    const last = createEndlessBody();
    expect((await put(api, admin, last.stream, announced)).status).toBe(429);
    expect([learners, forged, last].map((body) => body.asked())).toEqual([0, 0, 0]);
  });

  it("waits while two long ones of the same user are read, and not for those of other users", async () => {
    const { api } = createApi();
    const bodies = Array.from({ length: 3 }, createEndlessBody);
    const slow = await mint(INSTRUCTOR);
    for (const body of bodies) void put(api, slow, body.stream); // never answered
    await vi.waitFor(() => expect(bodies.filter((body) => body.asked() > 0)).toHaveLength(2));
    const quick = new Blob([JSON.stringify(TREE)]).stream();
    expect((await put(api, await mint(OTHER), quick)).status).toBe(201);
    expect(bodies.filter((body) => body.asked() > 0)).toHaveLength(2);
  });
});

type Api = ReturnType<typeof createApi>["api"];

async function mint([userId, role]: [string, Role]): Promise<string> {
  return (await tokens.mint({ userId, role })).token;
}

function put(api: Api, token: string, body: ReadableStream<Uint8Array>, headers: Record<string, string> = {}) {
  const init = {
    method: "PUT",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", host: "x", ...headers },
    body,
    duplex: "half",
  };
  return api.request(new Request("http://x/v1/courses/new", init as RequestInit), undefined, {
    remoteAddress: "192.0.2.1",
  });
}
