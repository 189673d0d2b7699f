import { describe, expect, it } from "vitest";
import { Workload } from "./workload.ts";

const shape = { users: 100_000, batchSize: 500 };

describe.each(["active", "uniform"] as const)("the %s workload", (name) => {
  it("makes batches of different users, each with a file of the named course", () => {
    const rows = new Workload(shape).next(name);
    expect(new Set(rows.map((row) => row.userId)).size).toBe(500);
    for (const { fileId, courseId } of rows) expect(fileId.startsWith(`${courseId}-file-`)).toBe(true);
  });

  it("continues a file where its last heartbeat ended", () => {
    const workload = new Workload({ ...shape, users: 500 });
    const seen = new Map<string, number>();
    for (let i = 0; i < 5; i++) {
      for (const { userId, fileId, played, positionMs, seq } of workload.next(name)) {
        const key = `${userId} ${fileId}`;
        expect(played).toEqual([[seen.get(key) ?? 10_000, positionMs]]);
        expect(seq).toBe(positionMs / 10_000 - 1);
        seen.set(key, positionMs);
      }
    }
  });
});

it("lets one user in a hundred be active, each in one file, and writes all of them in the warm-up", () => {
  const workload = new Workload(shape);
  const warm = [...workload.everyActive()].flat();
  expect(new Set(warm.map((row) => `${row.userId} ${row.fileId}`)).size).toBe(1000);
  const met = new Set(warm.map((row) => row.fileId + row.userId));
  for (const row of workload.next("active")) expect(met.has(row.fileId + row.userId)).toBe(true);
});

it("has at least as many active users as a batch", () => {
  expect(new Workload({ ...shape, users: 1000 }).activeUsers()).toBe(500);
});
