import { describe, expect, it } from "vitest";
import { BodyStream } from "./body-stream.ts";
import { UnreadBudget } from "./unread-budget.ts";

const KB = 1024;

function createBody(budget: UnreadBudget | null = null) {
  const calls: string[] = [];
  const body = new BodyStream({ pause: () => calls.push("pause"), resume: () => calls.push("resume") }, budget);
  return { body, calls };
}

describe("a body that nobody reads", () => {
  it("takes no second chunk from the socket", () => {
    const { body, calls } = createBody();
    body.push(new ArrayBuffer(10), false);
    expect(calls).toEqual(["pause"]);
  });

  it("is taken from the socket chunk by chunk as it is read", async () => {
    const { body, calls } = createBody();
    body.push(new ArrayBuffer(10), false);
    const reader = body.stream.getReader();
    expect((await reader.read()).value?.byteLength).toBe(10);
    const next = reader.read();
    expect(calls).toEqual(["pause", "resume"]);
    body.push(new ArrayBuffer(20), true);
    expect((await next).value?.byteLength).toBe(20);
    expect((await reader.read()).done).toBe(true);
  });

  it("is taken from the socket and not kept when it is dropped", () => {
    const { body, calls } = createBody();
    body.push(new ArrayBuffer(10), false);
    body.drop();
    body.push(new ArrayBuffer(10), false);
    expect(calls).toEqual(["pause", "resume"]);
  });

  it("fails as unavailable where the budget of all has too little left", async () => {
    const budget = new UnreadBudget(100 * KB);
    const bodies = [createBody(budget), createBody(budget)];
    for (const { body } of bodies) body.push(new ArrayBuffer(60 * KB), false);
    await expect(bodies[1]?.body.stream.getReader().read()).rejects.toMatchObject({
      code: "unavailable",
      retryAfterMs: expect.any(Number),
    });
  });

  it.each([
    ["it is dropped", (body: BodyStream) => body.drop()],
    [
      "it is read",
      async (body: BodyStream) => {
        const reader = body.stream.getReader();
        await reader.read();
        reader.read().catch(() => undefined); // fails when the body is dropped
      },
    ],
  ])("gives its part of the budget back once %s", async (_, end) => {
    const budget = new UnreadBudget(100 * KB);
    for (let i = 0; i < 10; i++) {
      const { body } = createBody(budget);
      body.push(new ArrayBuffer(90 * KB), false);
      await end(body);
      body.drop();
    }
    expect(budget.take(100 * KB)).toBe(true);
  });
});
