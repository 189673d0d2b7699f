import { expect, it } from "vitest";
import { LimitedQueue } from "./limited-queue.ts";

it("works on a few items at a time, in order, and tells when each is done", async () => {
  const ends = new Map<number, () => void>();
  const begun: number[] = [];
  const done: number[] = [];
  const queue = new LimitedQueue<number>(2, (item) => {
    begun.push(item);
    return new Promise((resolve) => ends.set(item, resolve));
  });
  const added = [1, 2, 3, 4].map((item) => queue.add(item).then(() => done.push(item)));
  expect(begun).toEqual([1, 2]);
  ends.get(2)?.();
  await added[1];
  expect(done).toEqual([2]);
  expect(begun).toEqual([1, 2, 3]);
  ends.get(1)?.();
  await added[0];
  expect(begun).toEqual([1, 2, 3, 4]);
  for (const item of [3, 4]) ends.get(item)?.();
  await Promise.all(added);
  expect(done.sort()).toEqual([1, 2, 3, 4]);
});
