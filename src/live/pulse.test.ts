import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { channels, createMemoryBus } from "./bus.ts";
import { Pulse } from "./pulse.ts";

describe("the pulse", () => {
  const bus = createMemoryBus();
  const said: string[] = [];
  let pulse: Pulse;
  const beat = () => bus.publish(channels.pulse, { type: "pulse" });

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    said.length = 0;
    pulse = new Pulse({ bus, onBehind: () => said.push("behind"), onLevel: () => said.push("level") });
  });
  afterEach(() => {
    pulse.stop();
    vi.useRealTimers();
  });

  it("that comes every second says nothing", () => {
    for (let second = 0; second < 60; second++) {
      vi.advanceTimersByTime(1000);
      beat();
    }
    expect(said).toEqual([]);
    expect(pulse.isBehind).toBe(false);
  });

  it("that stays away is told once, and its return once", () => {
    vi.advanceTimersByTime(60_000);
    expect(said).toEqual(["behind"]);
    beat();
    beat();
    expect(said).toEqual(["behind", "level"]);
    expect(pulse.isBehind).toBe(false);
  });

  it("tells within 4 s", () => {
    beat();
    vi.advanceTimersByTime(4000);
    expect(said).toEqual(["behind"]);
  });

  it("tells nobody once it is stopped", () => {
    pulse.stop();
    vi.advanceTimersByTime(60_000);
    beat();
    expect(said).toEqual([]);
  });
});
