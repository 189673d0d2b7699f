import { expect, it } from "vitest";
import type { PoolClient } from "../db/pool.ts";
import { decideBatch } from "./batch-decision.ts";
import { DatabaseClock } from "./database-clock.ts";
import { toPendingBeat } from "./pending-beat.ts";
import { RowMemory } from "./row-memory.ts";

it("decides by the file it found, though another batch forgets it while rows are looked up", async () => {
  const memory = new RowMemory();
  memory.setFile({
    fileId: "f1",
    lessonId: "l1",
    courseId: "c1",
    durationMs: 60_000,
    counted: true,
    completeAtMs: 54_000,
    endMs: 60_000,
    catalogueVersion: 1,
  });
  const clock = new DatabaseClock();
  clock.sample(0, 1_700_000_000);
  const client = {
    query: async () => {
      memory.forgetFile("f1");
      return { rows: [] };
    },
  } as unknown as PoolClient;
  const beat = toPendingBeat({
    userId: "ann",
    fileId: "f1",
    courseId: "c1",
    positionMs: 1000,
    observedAtMs: 0,
    session: "s1",
    seq: 0,
    played: [[0, 1000]],
  });
  const { decisions } = await decideBatch({ client, memory, clock, now: 0 }, [beat]);
  expect(decisions.map(({ type }) => type)).toEqual(["merged"]);
});
