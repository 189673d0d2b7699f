import { expect, it } from "vitest";
import { DatabaseClock } from "./database-clock.ts";

it("uses the sample whose statement travelled for the shortest time", () => {
  const clock = new DatabaseClock();
  expect(clock.isSet(0)).toBe(false);
  // The database's clock is 1,000 s ahead; the statements got there after 500, 20 and 300 ms.
  clock.sample(0, 1000.5);
  clock.sample(1000, 1001.02);
  clock.sample(2000, 1002.3);
  expect(clock.isSet(2000)).toBe(true);
  expect(clock.toUs(3000)).toBe(1_003_020_000);
});

it("is never behind the database's clock", () => {
  const clock = new DatabaseClock();
  for (let at = 0; at < 100_000; at += 700) {
    clock.sample(at, (at + 5 + (at % 90)) / 1000);
    expect(clock.toUs(at)).toBeGreaterThanOrEqual(at * 1000);
  }
});

it("follows a database clock that is set back at once, and one that is set forward within seconds", () => {
  const clock = new DatabaseClock();
  clock.sample(0, 1000);
  clock.sample(1000, 501);
  expect(clock.toUs(1000)).toBe(501_000_000);
  for (let at = 2000; at <= 14_000; at += 1000) clock.sample(at, 2000 + at / 1000);
  expect(clock.toUs(14_000)).toBe(2_014_000_000);
});

it("asks for a new sample when the last one is too old", () => {
  const clock = new DatabaseClock();
  clock.sample(0, 1000);
  expect(clock.isSet(31_000)).toBe(false);
  clock.sample(31_000, 3000);
  expect(clock.toUs(31_000)).toBe(3_000_000_000);
});
