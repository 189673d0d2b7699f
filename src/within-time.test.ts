import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { cutOff, endsWithin, withinTime } from "./within-time.ts";

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

describe("cutOff", () => {
  const untilEnded = (signal: AbortSignal) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));

  it("gives the result of work that ends in time", async () => {
    expect(await cutOff(new AbortController().signal, LONG_MS, async () => "done")).toBe("done");
  });

  it("ends the work when the time is up, though nobody holds its signal", async () => {
    const work = cutOff(new AbortController().signal, 20, untilEnded);
    setFlagsFromString("--expose-gc");
    runInNewContext("gc")();
    await expect(work).rejects.toMatchObject({ name: "TimeoutError" });
  });

  it("ends the work when the signal says so, also one that has said so before", async () => {
    const controller = new AbortController();
    const work = cutOff(controller.signal, LONG_MS, untilEnded);
    controller.abort(new Error("stopped"));
    await expect(work).rejects.toThrow("stopped");
    await expect(cutOff(controller.signal, LONG_MS, async (signal) => signal.throwIfAborted())).rejects.toThrow(
      "stopped",
    );
  });
});
