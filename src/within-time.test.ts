import { describe, expect, it } from "vitest";
import { endsWithin, withinTime } from "./within-time.ts";

const NEVER = new Promise<never>(() => undefined);
const LONG_MS = 3_600_000;

describe("withinTime", () => {
  it("gives the result of work that ends in time", async () => {
    expect(await withinTime(Promise.resolve("done"), LONG_MS, () => new Error("late"))).toBe("done");
  });

  it("throws the given error when the time is up", async () => {
    await expect(withinTime(NEVER, 1, () => new Error("late"))).rejects.toThrow("late");
  });

  it("throws the work's own error when the work fails in time", async () => {
    const work = Promise.reject(new Error("failed"));
    await expect(withinTime(work, LONG_MS, () => new Error("late"))).rejects.toThrow("failed");
  });
});

describe("endsWithin", () => {
  it("tells whether the work ended in time", async () => {
    expect(await endsWithin(Promise.resolve(), LONG_MS)).toBe(true);
    expect(await endsWithin(NEVER, 1)).toBe(false);
  });

  it("throws the work's own error when the work fails in time", async () => {
    await expect(endsWithin(Promise.reject(new Error("failed")), LONG_MS)).rejects.toThrow("failed");
  });
});
