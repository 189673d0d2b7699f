import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { channels } from "../bus/channels.ts";
import { createMemoryBus } from "../bus/memory-bus.ts";
import { Pulse } from "./pulse.ts";

describe("the pulse", () => {
  const bus = createMemoryBus();
  const told: string[] = [];
  let pulse: Pulse;
  const beat = () => bus.publish(channels.pulse, { type: "pulse" });

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    told.length = 0;
    pulse = new Pulse({ bus, onBehind: () => told.push("behind"), onLevel: () => told.push("level") });
  });
  afterEach(() => {
    pulse.stop();
    vi.useRealTimers();
  });

  it("tells nothing while it comes every second", () => {
    for (let second = 0; second < 60; second++) {
      vi.advanceTimersByTime(1000);
      beat();
    }
    expect(told).toEqual([]);
    expect(pulse.isBehind).toBe(false);
  });

  it("tells once that it stays away, and once that it is back", () => {
    vi.advanceTimersByTime(60_000);
    expect(told).toEqual(["behind"]);
    beat();
    beat();
    expect(told).toEqual(["behind", "level"]);
    expect(pulse.isBehind).toBe(false);
  });

  it("tells within 4 s that it stays away", () => {
    beat();
    vi.advanceTimersByTime(4000);
    expect(told).toEqual(["behind"]);
  });

  it("tells nothing after it was stopped", () => {
    pulse.stop();
    vi.advanceTimersByTime(60_000);
    beat();
    expect(told).toEqual([]);
  });
});
