import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { loadConfig } from "../config.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import { createProgress, type Progress } from "./create-progress.ts";

/*
 * A process that has not heard of a deletion yet: it holds rows and an allowance of the user, and takes its heartbeats. The
 * database refuses them.
 */

let database: TestDatabase;
let progress: Progress;
let users = 0;
let userId: string;

beforeAll(async () => {
  database = await createTestDatabase();
  const { pool } = database;
  progress = createProgress({
    config: { ...loadConfig({}), FLUSH_INTERVAL_MS: 5, WRITERS: 1 },
    database: { pool, writerPool: pool },
    catalogue: new CatalogueCache({ pool }),
    metrics: createMetrics(),
    logger: createLogger({ level: "silent" }),
    cache: null,
    isBehind: () => false,
    readCopy: null,
    onAccepted: () => undefined,
  });
  const files = [1, 2].map((n) => ({ id: `f${n}`, title: "File", durationSeconds: 60 }));
  await createCatalogueStore({ pool }).put("c", {
    title: "Course",
    lessons: [{ id: "l", title: "Lesson", files }],
  });
});
afterAll(async () => {
  expect(await progress.stop(1000)).toBe(0);
  await database.drop();
});
beforeEach(() => {
  users += 1;
  userId = `user-${users}`;
});

async function beat(who: string, fileId: string, given: Partial<Heartbeat> = {}) {
  const sent: Heartbeat = { fileId, position: 1, played: [[0, 1]], ...given };
  return (await progress.service.heartbeat({ userId: who, connectionId: who }, sent)).progress;
}
const remove = () => database.query("SELECT delete_user($1)", [userId]);
const rowsOf = () => database.query("SELECT file_id FROM user_progress WHERE user_id = $1", [userId]);

it("refuses the beats of a user who was deleted as unauthenticated, and writes those of others in the same batch", async () => {
  await beat(userId, "f1");
  await remove();
  const results = await Promise.allSettled([
    beat(userId, "f1", { position: 2, epoch: 0 }),
    beat(userId, "f2"),
    ...Array.from({ length: 20 }, (_, i) => beat(`other-${i}`, "f1")),
  ]);
  for (const refused of results.splice(0, 2))
    expect(refused).toMatchObject({ status: "rejected", reason: { code: "unauthenticated" } });
  expect(results.every(({ status }) => status === "fulfilled")).toBe(true);
  expect(await rowsOf()).toEqual([]);
  expect(await database.query("SELECT FROM user_activity_log WHERE user_id = $1", [userId])).toEqual([]);
});

it("refuses a batch that was decided before the deletion and waits for its lock", async () => {
  await beat(userId, "f1");
  const other = await database.pool.connect();
  try {
    await other.query("BEGIN");
    await other.query("SELECT delete_user($1)", [userId]);
    const late = beat(userId, "f1", { position: 2 });
    late.catch(() => undefined);
    await other.query("COMMIT");
    await expect(late).rejects.toMatchObject({ code: "unauthenticated" });
  } finally {
    other.release();
  }
});

it("tells who operates on the progress of a user who was deleted that there is no such user", async () => {
  await remove();
  const by = { userId: "root", role: "admin" as const };
  await expect(progress.service.reset(userId, { courseId: "c" }, by)).rejects.toMatchObject({ code: "not_found" });
  await expect(progress.service.complete(userId, { fileId: "f1" }, { source: "manual", by })).rejects.toMatchObject({
    code: "not_found",
  });
});

it("drops what was kept from before once the user has come back, also after a reset", async () => {
  await beat(userId, "f1");
  await progress.service.reset(userId, { fileId: "f1" }, userId);
  await remove();
  await database.query("SELECT readmit_user($1, clock_timestamp())", [userId]);
  progress.forgetUsers((id) => id === userId);
  expect(await progress.service.readFile(userId, "f2")).toMatchObject({ epoch: 2, position: 0 });
  expect(await beat(userId, "f1", { epoch: 1, position: 9 })).toMatchObject({ epoch: 2, position: 0, watched: [] });
  expect(await beat(userId, "f2", { ageMs: 600_000 })).toMatchObject({ epoch: 2, watched: [] });
  expect(await rowsOf()).toEqual([]);
  expect(await beat(userId, "f1", { epoch: 2 })).toMatchObject({ epoch: 2, watched: [[0, 1]] });
  await progress.service.reset(userId, { courseId: "c" }, userId);
  expect(await progress.service.readFile(userId, "f2")).toMatchObject({ epoch: 3 });
  expect(await progress.service.readFile(userId, "f1")).toMatchObject({ epoch: 3 });
  expect(await database.query("SELECT * FROM playhead_check_course('c')")).toEqual([]);
});
