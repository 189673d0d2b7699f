import { expect, it } from "vitest";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import type { Pool, PoolClient } from "../db/pool.ts";
import { decideBatch } from "./batch-decision.ts";
import { DatabaseClock } from "./database-clock.ts";
import { toPendingBeat } from "./pending-beat.ts";
import { RowMemory } from "./row-memory.ts";

const FILE = {
  fileId: "f1",
  lessonId: "l1",
  courseId: "c1",
  durationMs: 60_000,
  counted: true,
  completeAtMs: 54_000,
  endMs: 60_000,
  catalogueVersion: 1,
};

it("decides by the file that it found, even if the cache forgets the course while rows are looked up", async () => {
  const catalogue = new CatalogueCache({ pool: {} as Pool });
  await catalogue.loadFiles({ query: async () => ({ rows: [FILE] }) } as unknown as PoolClient, ["f1"]);
  const clock = new DatabaseClock();
  clock.sample(0, 1_700_000_000);
  const client = {
    query: async () => {
      catalogue.forgetCourse("c1");
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
  const { decisions } = await decideBatch({ client, catalogue, memory: new RowMemory(), clock, now: 0 }, [beat]);
  expect(catalogue.peekFile("f1")).toBeUndefined();
  expect(decisions.map(({ type }) => type)).toEqual(["merged"]);
});
