import { expect, it } from "vitest";
import { RecentMap } from "./recent-map.ts";

it("keeps the entries that are used, and a bounded number of others", () => {
  const map = new RecentMap<number, string>(10);
  map.set(-1, "used");
  for (let i = 0; i < 1000; i++) {
    map.set(i, "value");
    expect(map.get(-1)).toBe("used");
  }
  const left = Array.from({ length: 1000 }, (_, i) => map.get(i)).filter((value) => value !== undefined);
  expect(left.length).toBeGreaterThanOrEqual(9);
  expect(left.length).toBeLessThanOrEqual(20);
  map.delete(-1);
  expect(map.get(-1)).toBeUndefined();
});
