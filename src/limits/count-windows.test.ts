import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CountWindows } from "./count-windows.ts";

const WINDOW_MS = 10_000;
const HOUR_MS = 3_600_000;
let windows: CountWindows;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance", "Date"] });
  windows = new CountWindows({ most: 2, windowMs: WINDOW_MS });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a window", () => {
  it("takes so many counts of a key, refuses the others until it ends, and then takes as many again", () => {
    expect([windows.count("a"), windows.count("a"), windows.count("b")]).toEqual([0, 0, 0]);
    vi.advanceTimersByTime(4000);
    expect(windows.count("a")).toBe(6000);
    vi.advanceTimersByTime(5999);
    expect(windows.count("a")).toBe(1);
    vi.advanceTimersByTime(1);
    expect([windows.count("a"), windows.count("a")]).toEqual([0, 0]);
    expect(windows.count("a")).toBe(WINDOW_MS);
  });

  it.each([HOUR_MS, -HOUR_MS])("ends neither earlier nor later when somebody sets the clock by %i ms", (byMs) => {
    for (let i = 0; i < 3; i++) windows.count("a");
    vi.setSystemTime(Date.now() + byMs);
    expect(windows.count("a")).toBe(WINDOW_MS);
    vi.advanceTimersByTime(WINDOW_MS);
    expect(windows.count("a")).toBe(0);
  });

  it("gives counts back", () => {
    for (let i = 0; i < 2; i++) windows.count("a");
    windows.takeBack("a");
    expect(windows.count("a")).toBe(0);
    expect(windows.count("a")).toBeGreaterThan(0);
    windows.forget("a");
    expect(windows.count("a")).toBe(0);
    windows.takeBack("nobody");
  });
});
