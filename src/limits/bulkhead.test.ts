import { describe, expect, it } from "vitest";
import { Bulkhead } from "./bulkhead.ts";

/** Work that ends when it is told to. */
function createWork() {
  const begun: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  return {
    begun,
    work: (name: string) => () =>
      new Promise<string>((resolve, reject) => {
        begun.push(name);
        ends.set(name, (error) => (error === undefined ? resolve(name) : reject(error)));
      }),
    async end(name: string, error?: Error) {
      ends.get(name)?.(error);
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

describe("a bulkhead", () => {
  it("runs so much work of a key at once, and the rest in its order", async () => {
    const { begun, work, end } = createWork();
    const bulkhead = new Bulkhead({ perKey: 2 });
    const results = ["1", "2", "3", "4"].map((name) => bulkhead.run("alice", name, work(name)));
    void bulkhead.run("bob", "5", work("5"));
    expect(begun).toEqual(["1", "2", "5"]);
    await end("2");
    expect(begun).toEqual(["1", "2", "5", "3"]);
    await end("1");
    await end("3");
    await end("4");
    expect(await Promise.all(results)).toEqual(["1", "2", "3", "4"]);
  });

  it("goes on after work that failed", async () => {
    const { begun, work, end } = createWork();
    const bulkhead = new Bulkhead({ perKey: 1 });
    const failed = expect(bulkhead.run("alice", "1", work("1"))).rejects.toThrow("no");
    void bulkhead.run("alice", "2", work("2"));
    await end("1", new Error("no"));
    await failed;
    expect(begun).toEqual(["1", "2"]);
  });

  it("runs equal work that waits once, and never joins work that has begun or that other work follows", async () => {
    const { begun, work, end } = createWork();
    const bulkhead = new Bulkhead({ perKey: 1 });
    const all = ["reset", "reset", "reset", "complete", "reset"].map((name, i) =>
      bulkhead.run("alice", name, work(`${name} ${i}`)),
    );
    for (const name of ["reset 0", "reset 1", "complete 3", "reset 4"]) await end(name);
    expect(await Promise.all(all)).toEqual(["reset 0", "reset 1", "reset 1", "complete 3", "reset 4"]);
    expect(begun).toHaveLength(4);
  });

  it("runs so much work of all keys at once, each key in its turn", async () => {
    const { begun, work, end } = createWork();
    const bulkhead = new Bulkhead({ perKey: 2, total: 2 });
    for (const name of ["a1", "a2", "a3", "a4"]) void bulkhead.run("a", name, work(name));
    for (const name of ["b1", "b2"]) void bulkhead.run("b", name, work(name));
    for (const name of ["a1", "a2", "a3", "b1", "a4", "b2"]) await end(name);
    expect(begun).toEqual(["a1", "a2", "a3", "b1", "a4", "b2"]);
  });

  it("refuses work of a key past a hundred that wait, and takes work of others", async () => {
    const { begun, work } = createWork();
    const bulkhead = new Bulkhead({ perKey: 1 });
    for (let i = 0; i < 101; i++) void bulkhead.run("alice", `${i}`, work(`${i}`));
    await expect(bulkhead.run("alice", "more", work("more"))).rejects.toMatchObject({ code: "rate_limited" });
    void bulkhead.run("bob", "1", work("bob's"));
    expect(begun).toEqual(["0", "bob's"]);
  });
});
