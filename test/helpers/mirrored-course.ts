import { CatalogueCache } from "../../src/catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../../src/catalogue/catalogue-store.ts";
import { createLogger } from "../../src/logger.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { type Observation, toPendingBeat } from "../../src/progress/pending-beat.ts";
import { createProgressOperations } from "../../src/progress/progress-operations.ts";
import { ProgressWriter } from "../../src/progress/progress-writer.ts";
import type { TestDatabase } from "./database.ts";

/** Ids that Firestore does not take as they are, and ids with quotes and brackets. */
export const STRANGE_IDS = ["a/b", ".", "..", "__x__", "100%", "%2F", "ümlaut 𝒙\n", "quote\"'\\{},"];

/** Puts two courses, and gives the product's own ways to write progress in them. */
export async function createMirroredCourse(database: TestDatabase) {
  const { pool } = database;
  const logger = createLogger({ level: process.env.TEST_LOG ?? "silent" });
  await putCourses(database);
  const writer = new ProgressWriter({
    pool,
    catalogue: new CatalogueCache({ pool }),
    metrics: createMetrics(),
    logger,
  });
  const operations = createProgressOperations({ pool });
  let seq = 0;
  return {
    operations,
    /** Writes a batch of heartbeats. They are durable when it resolves. */
    async beat(...beats: (Partial<Observation> & { userId: string })[]): Promise<void> {
      const results = await writer.write(
        beats.map((given) => {
          seq += 1;
          const played: [number, number][] = [[seq * 10, seq * 10 + 1000]];
          const position = { positionMs: 1000 + seq, observedAtMs: performance.now(), played };
          return toPendingBeat({ fileId: "file", courseId: "course", session: "session", seq, ...position, ...given });
        }),
      );
      const failed = results.find((result) => result.type !== "written");
      if (failed !== undefined) throw new Error("A beat was not written", { cause: failed });
    },
  };
}

export async function putCourses(database: TestDatabase): Promise<void> {
  const catalogue = createCatalogueStore({ pool: database.pool });
  await catalogue.put("course", {
    title: "Course",
    lessons: [
      {
        id: "lesson",
        title: "Lesson",
        files: ["file", "other"].map((id) => ({ id, title: id, durationSeconds: 600 })),
      },
      { id: "extra", title: "Extra", files: [{ id: "endless", title: "Endless" }] },
    ],
  });
  await catalogue.put("strange", {
    title: "Strange",
    lessons: [
      { id: "strange-lesson", title: "", files: STRANGE_IDS.map((id) => ({ id, title: "x", durationSeconds: 60 })) },
    ],
  });
}
