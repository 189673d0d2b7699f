import { describe, expect, it } from "vitest";
import { GatheredLoads } from "./gathered-loads.ts";

function createWorld() {
  const queries: { ids: string[]; answer: (found: string) => void; fail: (error: Error) => void }[] = [];
  const loads = new GatheredLoads<string>(
    (ids) => new Promise((resolve, reject) => queries.push({ ids, answer: resolve, fail: reject })),
  );
  return { queries, loads };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("loads by id", () => {
  it("go into one query when they are asked for in one turn, each id once", async () => {
    const { queries, loads } = createWorld();
    const asked = Promise.all([loads.load("a"), loads.load("b"), loads.load("a")]);
    await turn();
    expect(queries.map(({ ids }) => ids)).toEqual([["a", "b"]]);
    queries[0]?.answer("found");
    expect(await asked).toEqual(["found", "found", "found"]);
  });

  it("wait for the query that runs, then go into one query together", async () => {
    const { queries, loads } = createWorld();
    void loads.load("a");
    await turn();
    void loads.load("b");
    await turn();
    void loads.load("c");
    void loads.load("a");
    await turn();
    expect(queries.length).toBe(1);
    queries[0]?.answer("first");
    await turn();
    expect(queries.map(({ ids }) => ids)).toEqual([["a"], ["b", "c", "a"]]);
  });

  it("fail together with their query, and the next query runs all the same", async () => {
    const { queries, loads } = createWorld();
    const first = loads.load("a").catch((error: Error) => error.message);
    await turn();
    const second = loads.load("b");
    queries[0]?.fail(new Error("away"));
    expect(await first).toBe("away");
    await turn();
    queries[1]?.answer("found");
    expect(await second).toBe("found");
  });
});
