import { afterAll, beforeAll, expect } from "vitest";
import { CatalogueCache } from "../../src/catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../../src/catalogue/catalogue-store.ts";
import { loadConfig } from "../../src/config.ts";
import { createLogger } from "../../src/logger.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { createProgress, type Progress } from "../../src/progress/create-progress.ts";
import type { ProgressService } from "../../src/progress/progress-service.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";

/** The progress service on a database of its own, with the courses `c` and `strict`. */
export interface ProgressSteps {
  database: TestDatabase;
  catalogue: CatalogueCache;
  service: ProgressService;
  /** Every beat that was accepted so far. */
  accepted: unknown[];
}

let users = 0;

/** A user that no other test has, on a connection of its own. */
export function newUser() {
  users += 1;
  return { userId: `user-${users}`, connectionId: `connection-${users}` };
}

/** Builds the service before the tests of a file, and stops it after the last. */
export function useProgressSteps(onMade: (steps: ProgressSteps) => void): void {
  let database: TestDatabase;
  let progress: Progress;
  beforeAll(async () => {
    database = await createTestDatabase();
    const { pool } = database;
    const file = (id: string, durationSeconds: number) => ({ id, title: id, durationSeconds });
    const store = createCatalogueStore({ pool });
    await store.put("c", {
      title: "Course",
      lessons: [{ id: "l", title: "Lesson", files: [file("short", 60), file("long", 3600)] }],
    });
    await store.put("strict", {
      title: "Strict",
      acceptReported: false,
      lessons: [{ id: "ls", title: "Lesson", files: [file("strict", 60)] }],
    });
    const accepted: unknown[] = [];
    const logger = createLogger({ level: "silent" });
    const catalogue = new CatalogueCache({ pool });
    progress = createProgress({
      config: { ...loadConfig({}), FLUSH_INTERVAL_MS: 5 },
      database: { pool, writerPool: pool },
      catalogue,
      metrics: createMetrics(),
      logger,
      cache: null,
      isBehind: () => false,
      readCopy: null,
      onAccepted: (beat) => accepted.push(beat),
    });
    onMade({ database, catalogue, service: progress.service, accepted });
  });
  afterAll(async () => {
    expect(await progress.stop(1000)).toBe(0);
    await database.drop();
  });
}
