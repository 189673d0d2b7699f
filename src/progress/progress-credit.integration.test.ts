import { describe, expect, it } from "vitest";
import type { TestDatabase } from "../../test/helpers/database.ts";
import { newUser, useProgressSteps } from "../../test/helpers/progress-steps.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { loadConfig } from "../config.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { createProgress } from "./create-progress.ts";
import type { ProgressService } from "./progress-service.ts";

describe("what a beat is credited with", () => {
  let database: TestDatabase;
  let service: ProgressService;
  let catalogue: CatalogueCache;
  useProgressSteps((steps) => {
    ({ database, service, catalogue } = steps);
  });

  it("cuts what lies past the duration, says so, and takes the beat", async () => {
    const user = newUser();
    const cut = await service.heartbeat(user, { fileId: "short", position: 64, played: [[58, 64.9]] });
    expect(cut).toMatchObject({ cut: ["duration"], progress: { position: 60, watched: [[58, 60]], resumeAt: 0 } });
    expect(cut.progress.watchedSeconds).toBe(2);
    const within = await service.heartbeat(user, { fileId: "short", position: 1, played: [[0, 1]] });
    expect(within).not.toHaveProperty("cut");
    const far = await service.heartbeat(user, { fileId: "short", position: 1, played: [[100, 101]] });
    expect(far).toMatchObject({ cut: ["duration"], progress: { watchedSeconds: 3 } });
  });

  it("counts whole what was played past the duration, once the catalogue is corrected", async () => {
    const user = newUser();
    const store = createCatalogueStore({ pool: database.pool });
    const put = (durationSeconds: number) =>
      store.put("corrected", {
        title: "Corrected",
        lessons: [{ id: "corrected-l", title: "L", files: [{ id: "longer", title: "F", durationSeconds }] }],
      });
    await put(5);
    const before = await service.heartbeat(user, { fileId: "longer", position: 7, played: [[0, 7]] });
    expect(before).toMatchObject({ cut: ["duration"], progress: { position: 5, watchedSeconds: 5, percentage: 100 } });
    await put(10);
    catalogue.forgetCourse("corrected");
    expect(await service.readFile(user.userId, "longer")).toMatchObject({
      position: 7,
      watched: [[0, 7]],
      percentage: 70,
      completed: true,
    });
    expect(await database.query("SELECT * FROM playhead_check_course('corrected')")).toEqual([]);
  });

  it("resumes where the player was paused in a file that is longer than the catalogue knows", async () => {
    const user = newUser();
    await service.heartbeat(user, { fileId: "short", position: 90, state: "paused" });
    expect(await service.readFile(user.userId, "short")).toMatchObject({ position: 60, resumeAt: 88 });
    await service.heartbeat(user, { fileId: "short", position: 95, state: "ended" });
    expect(await service.readFile(user.userId, "short")).toMatchObject({ position: 60, resumeAt: 0 });
  });

  it("credits no more than the budget, and moves the position all the same", async () => {
    const user = newUser();
    const startedAt = performance.now();
    const { progress: cut } = await service.heartbeat(user, { fileId: "long", position: 3000, played: [[0, 3000]] });
    const elapsedSeconds = (performance.now() - startedAt) / 1000;
    expect(cut.position).toBe(3000);
    // 10 s at the first contact, and four times the time since.
    expect(cut.watchedSeconds).toBeGreaterThan(9);
    expect(cut.watchedSeconds).toBeLessThanOrEqual(10 + 4 * elapsedSeconds);
  });

  it("lets an hour offline be uploaded after an hour", async () => {
    const user = newUser();
    await service.heartbeat(user, { fileId: "short", position: 1 });
    await database.query("UPDATE user_progress SET beat_at = beat_at - interval '1 hour' WHERE user_id = $1", [
      user.userId,
    ]);
    // Another node has not seen the user yet; it reads the last contact from the database.
    const other = createProgress({
      config: { ...loadConfig({}), FLUSH_INTERVAL_MS: 5 },
      database: { pool: database.pool, writerPool: database.pool },
      catalogue: new CatalogueCache({ pool: database.pool }),
      metrics: createMetrics(),
      logger: createLogger({ level: "silent" }),
      cache: null,
      isBehind: () => false,
      readCopy: null,
      onAccepted: () => undefined,
    });
    const { progress: uploaded } = await other.service.heartbeat(user, {
      fileId: "long",
      position: 3500,
      played: [[0, 3500]],
    });
    expect(uploaded).toMatchObject({ watchedSeconds: 3500, completed: true });
    await other.stop(1000);
  });

  it("gives up the shortest range of a full row, says so, and takes the beat", async () => {
    const user = newUser();
    const fragments = Array.from({ length: 128 }, (_, i) => `[${i * 2000},${i * 2000 + 1000})`).join(",");
    await service.heartbeat(user, { fileId: "long", position: 1 });
    await database.query("UPDATE user_progress SET watched = $2 WHERE user_id = $1", [user.userId, `{${fragments}}`]);
    const full = await service.heartbeat(user, { fileId: "long", position: 600, played: [[600, 600.9]], seq: 1 });
    expect(full).toMatchObject({
      cut: ["fragments"],
      progress: { position: 600, watchedSeconds: 128, watchTimeSeconds: 0.9 },
    });
    const longer = await service.heartbeat(user, { fileId: "long", position: 602, played: [[600, 602]], seq: 2 });
    expect(longer).toMatchObject({ cut: ["fragments"], progress: { watchedSeconds: 129, watchTimeSeconds: 2.9 } });
    expect(longer.progress.watched).toContainEqual([600, 602]);
    expect(longer.progress.watched).toHaveLength(128);
    const joining = await service.heartbeat(user, { fileId: "long", position: 2, played: [[0.5, 2.5]], seq: 3 });
    expect(joining).not.toHaveProperty("cut");
    expect(joining.progress.watched).toHaveLength(127);
  });

  it("says that the budget cut a beat, and counts the cuts of each user", async () => {
    const user = newUser();
    const beat = await service.heartbeat(user, { fileId: "long", position: 100, played: [[0, 100]] });
    expect(beat.cut).toEqual(["budget"]);
    const { cutMs, beats } = service.cutsOf(user.userId);
    expect([beats, cutMs / 1000 + beat.progress.watchedSeconds]).toEqual([1, 100]);
    expect(service.cutsOf("nobody")).toEqual({ cutMs: 0, beats: 0 });
  });

  it("completes a file by what was watched between its boundaries alone", async () => {
    const store = createCatalogueStore({ pool: database.pool });
    const file = { id: "bounded", title: "F", durationSeconds: 9, startSeconds: 4, creditsAtSeconds: 8 };
    await store.put("bounded", { title: "B", lessons: [{ id: "bounded-l", title: "L", files: [file] }] });
    const user = newUser();
    const titles = await service.heartbeat(user, { fileId: "bounded", position: 4, played: [[0, 4]] });
    expect(titles.progress.completed).toBe(false);
    const content = await service.heartbeat(user, { fileId: "bounded", position: 8, played: [[4, 7.7]] });
    expect(content.progress.completed).toBe(true);
    const other = newUser();
    await service.heartbeat(other, { fileId: "bounded", position: 1 });
    await database.query("UPDATE user_progress SET watched = '{[0,4000)}' WHERE user_id = $1", [other.userId]);
    expect((await service.readFile(other.userId, "bounded")).completed).toBe(false);
    await store.put("bounded", { title: "C", lessons: [{ id: "bounded-l", title: "L", files: [file] }] });
    expect((await service.readFile(other.userId, "bounded")).completed).toBe(false);
  });

  it("weighs a file of unknown duration as the mean of its course's known ones", async () => {
    const store = createCatalogueStore({ pool: database.pool });
    const unknown = Array.from({ length: 9 }, (_, i) => ({ id: `mean-${i}`, title: "F" }));
    const files = [{ id: "mean-known", title: "F", durationSeconds: 8 }, ...unknown];
    await store.put("mean", { title: "M", lessons: [{ id: "mean-l", title: "L", files }] });
    const [ann, bob] = [newUser(), newUser()];
    await service.heartbeat(ann, { fileId: "mean-known", position: 8, played: [[0, 8]] });
    expect(await service.readCourseRow(ann.userId, "mean")).toMatchObject({ percentage: 10, totalDuration: 8 });
    for (const { id } of unknown) await service.complete(bob.userId, { fileId: id }, { source: "manual", by: "t" });
    expect(await service.readCourseRow(bob.userId, "mean")).toMatchObject({ percentage: 90, completedFiles: 9 });
    expect(await database.query("SELECT * FROM playhead_check_course('mean')")).toEqual([]);
  });

  it("adds up a course of the longest files that the catalogue takes", async () => {
    const store = createCatalogueStore({ pool: database.pool });
    const files = Array.from({ length: 1200 }, (_, i) => ({ id: `huge-${i}`, title: "F", durationSeconds: 2_147_483 }));
    await store.put("huge", { title: "H", lessons: [{ id: "huge-l", title: "L", files }] });
    const user = newUser();
    await service.complete(user.userId, { courseId: "huge" }, { source: "manual", by: "t" });
    const [row] = await database.query("SELECT * FROM course_progress WHERE user_id = $1", [user.userId]);
    expect(row).toMatchObject({ total_duration: 1200 * 2_147_483, progress_percentage: "100.00" });
    await service.uncomplete(user.userId, { fileId: "huge-0" }, "t");
    expect(await service.readCourseRow(user.userId, "huge")).toMatchObject({ percentage: 99.91 });
    expect(await database.query("SELECT * FROM playhead_check_course('huge')")).toEqual([]);
  });
});
