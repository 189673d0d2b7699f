import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { TurnQueue } from "./turn-queue.ts";

describe("a turn queue", () => {
  it("gives no place in the turn that asked", async () => {
    const places: number[] = [];
    const given = new TurnQueue().next().then(() => places.push(1));
    await Promise.resolve();
    expect(places).toEqual([]);
    await given;
    expect(places).toEqual([1]);
  });

  it("gives few places in a turn, in the order in which they were asked for, and forgets none", async () => {
    const queue = new TurnQueue();
    const places: number[] = [];
    const given = Array.from({ length: 100 }, (_, i) => queue.next().then(() => places.push(i)));
    let turns = 0;
    while (places.length < 100) {
      const before = places.length;
      await turn();
      turns += 1;
      expect(places.length - before).toBeLessThanOrEqual(16);
    }
    await Promise.all(given);
    expect(places).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(turns).toBeGreaterThanOrEqual(100 / 16);
  });

  it("gives places also to those who ask while others get theirs", async () => {
    const queue = new TurnQueue();
    let places = 0;
    const again = (left: number): Promise<void> =>
      queue.next().then(() => {
        places += 1;
        return left > 0 ? again(left - 1) : undefined;
      });
    await Promise.all(Array.from({ length: 20 }, () => again(3)));
    expect(places).toBe(80);
  });
});
