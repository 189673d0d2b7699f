import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { loadConfig } from "../config.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { createProgress, type Progress } from "./create-progress.ts";
import type { ProgressService } from "./progress-service.ts";

describe("the progress service", () => {
  let database: TestDatabase;
  let progress: Progress;
  let service: ProgressService;
  let catalogue: CatalogueCache;
  const accepted: unknown[] = [];
  let users = 0;

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
    const logger = createLogger({ level: "silent" });
    catalogue = new CatalogueCache({ pool });
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
    service = progress.service;
  });
  afterAll(async () => {
    expect(await progress.stop(1000)).toBe(0);
    await database.drop();
  });

  function newUser() {
    users += 1;
    return { userId: `user-${users}`, connectionId: `connection-${users}` };
  }

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

  it("answers each beat of a batch separately", async () => {
    const user = newUser();
    const results = await service.heartbeats(user, [
      { fileId: "short", position: 3, played: [[0, 3]], seq: 1 },
      { fileId: "nowhere", position: 1 },
      { position: 1 },
      "beat",
      { fileId: "short", position: 5, played: [[3, 5]], seq: 2 },
    ]);
    expect(results.map((result) => (result.ok ? result.progress.watchedSeconds : result.error.code))).toEqual([
      5,
      "unknown_file",
      "bad_request",
      "bad_request",
      5,
    ]);
    const [row] = await database.query("SELECT watch_time_ms FROM user_progress WHERE user_id = $1", [user.userId]);
    expect(row).toEqual({ watch_time_ms: 5000 });
  });

  it("zeroes the row at a reset, raises the epoch, and drops beats observed before it", async () => {
    const user = newUser();
    await service.heartbeat(user, { fileId: "short", position: 8, played: [[0, 8]], seq: 1 });
    await service.reset(user.userId, { courseId: "c" }, user.userId);
    expect(await service.readFile(user.userId, "short")).toMatchObject({
      position: 0,
      watched: [],
      epoch: 1,
      lastWatched: null,
    });
    expect(await service.readFile(user.userId, "long")).toMatchObject({ epoch: 1 });
    const late = await service.heartbeat(user, {
      fileId: "short",
      position: 9,
      played: [[8, 9]],
      seq: 2,
      ageMs: 60_000,
    });
    expect(late.progress).toMatchObject({ position: 0, watched: [], epoch: 1 });
    const ofOldEpoch = await service.heartbeat(user, {
      fileId: "short",
      position: 9,
      played: [[8, 9]],
      seq: 3,
      epoch: 0,
    });
    expect(ofOldEpoch.progress).toMatchObject({ position: 0, watched: [] });
    const fresh = await service.heartbeat(user, { fileId: "short", position: 1, played: [[0, 1]], seq: 4, epoch: 1 });
    expect(fresh.progress).toMatchObject({ position: 1, watched: [[0, 1]], epoch: 1 });
  });

  it("stores the progress that a legacy client reports, apart from the watched ranges", async () => {
    const user = newUser();
    expect(
      await service.report(user, { fileId: "short", progressSeconds: 30, progressPercentage: 50, completed: false }),
    ).toEqual({
      userId: user.userId,
      fileId: "short",
      progressSeconds: 30,
      progressPercentage: 50,
      completed: false,
      lastWatched: expect.any(String),
    });
    expect(await service.readFile(user.userId, "short")).toMatchObject({
      watchedSeconds: 0,
      percentage: 0,
      position: 30,
    });
    await service.report(user, { fileId: "short", progressSeconds: 60, progressPercentage: 100, completed: true });
    const [row] = await database.query(
      "SELECT completed, completion_source, watched_ms FROM user_progress WHERE user_id = $1",
      [user.userId],
    );
    expect(row).toEqual({ completed: true, completion_source: "reported", watched_ms: 0 });
    const [course] = await database.query(
      "SELECT contribution_ms, completed_files FROM course_progress WHERE user_id = $1",
      [user.userId],
    );
    expect(course).toEqual({ contribution_ms: 60_000, completed_files: 1 });
  });

  it("ignores reports in a course with acceptReported false", async () => {
    const user = newUser();
    const row = await service.report(user, {
      fileId: "strict",
      progressSeconds: 30,
      progressPercentage: 100,
      completed: true,
    });
    expect(row).toMatchObject({ progressSeconds: 30, progressPercentage: 0, completed: false });
  });

  it("completes and un-completes by hand, and logs who did it", async () => {
    const user = newUser();
    await service.complete(user.userId, { fileId: "short" }, { source: "waived", by: "teacher" });
    expect(await service.readFile(user.userId, "short")).toMatchObject({ completed: true, watchedSeconds: 0 });
    await service.uncomplete(user.userId, { fileId: "short" }, "teacher");
    expect(await service.readFile(user.userId, "short")).toMatchObject({ completed: false });
    await service.complete(user.userId, { courseId: "c" }, { source: "manual", by: "teacher" });
    expect(await service.readCourseRow(user.userId, "c")).toMatchObject({ completedFiles: 2, percentage: 100 });
    const log = await database.query(
      "SELECT activity_type, actor_id, file_id FROM user_activity_log WHERE user_id = $1 ORDER BY id",
      [user.userId],
    );
    expect(log).toEqual([
      { activity_type: "waived", actor_id: "teacher", file_id: "short" },
      { activity_type: "uncompleted", actor_id: "teacher", file_id: "short" },
      { activity_type: "manual", actor_id: "teacher", file_id: null },
    ]);
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

  it("counts a beat of the current epoch, whatever age it claims", async () => {
    const user = newUser();
    await service.heartbeat(user, { fileId: "short", position: 1 });
    await service.reset(user.userId, { fileId: "short" }, user.userId);
    await database.query("UPDATE user_progress SET reset_at = now() + interval '1 hour' WHERE user_id = $1", [
      user.userId,
    ]);
    const old = { fileId: "short", position: 9, played: [[8, 9]] as [number, number][], ageMs: 3_600_000 };
    expect((await service.heartbeat(user, { ...old, epoch: 1 })).progress).toMatchObject({ watched: [[8, 9]] });
    expect((await service.heartbeat(user, { ...old, played: [[3, 4]], epoch: 0 })).progress.watched).toEqual([[8, 9]]);
    expect((await service.heartbeat(user, { ...old, played: [[3, 4]] })).progress.watched).toEqual([[8, 9]]);
  });

  it("keeps the place of the higher number of a session, even if the network made it look earlier", async () => {
    const user = newUser();
    const beat = { fileId: "short", sessionId: "s" };
    await service.heartbeat(user, { ...beat, position: 10, seq: 1 });
    const seek = await service.heartbeat(user, { ...beat, position: 40, seq: 2, ageMs: 500 });
    expect(seek.progress.position).toBe(40);
    expect((await service.heartbeat(user, { ...beat, position: 10, seq: 1 })).progress.position).toBe(40);
  });

  it("closes gaps of 250 ms after the start and before the end of a file", async () => {
    const user = newUser();
    const played: [number, number][] = [
      [0.25, 1],
      [58, 59.75],
    ];
    const { progress: closed } = await service.heartbeat(user, { fileId: "short", position: 1, played });
    const expected = [
      [0, 1],
      [58, 60],
    ];
    expect(closed.watched).toEqual(expected);
    const wider = await service.heartbeat(newUser(), { fileId: "short", position: 1, played: [[0.251, 59.749]] });
    expect(wider.progress.watched[0]?.[0]).toBe(0.251);
  });

  it("tells when a learner was last seen in a course by beats alone", async () => {
    const user = newUser();
    await service.heartbeat(user, { fileId: "short", position: 7, ageMs: 60_000 });
    const before = await service.readCourseRow(user.userId, "c");
    const [row] = await database.query<{ seen: Date }>(
      "SELECT last_watched AS seen FROM user_progress WHERE user_id = $1",
      [user.userId],
    );
    expect(before.lastWatched).toBe(row?.seen.toISOString());
    await service.complete(user.userId, { fileId: "short" }, { source: "waived", by: "teacher" });
    const after = await service.readCourseRow(user.userId, "c");
    expect(after.lastWatched).toBe(before.lastWatched);
    expect(after.lastUpdated).not.toBe(before.lastUpdated);
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

  it("says that an unknown file may be known soon, only where the catalogue may be behind", async () => {
    const ask = () => service.heartbeat(newUser(), { fileId: "yet-unknown", position: 1 });
    await expect(ask()).rejects.toMatchObject({ code: "unknown_file", retryAfterMs: undefined });
    catalogue.forgetAll();
    await expect(ask()).rejects.toMatchObject({ code: "unknown_file", retryAfterMs: expect.any(Number) });
  });

  it("reads a file that was never watched as zeros, version 0", async () => {
    const user = newUser();
    expect(await service.readFile(user.userId, "long")).toEqual({
      userId: user.userId,
      fileId: "long",
      lessonId: "l",
      courseId: "c",
      position: 0,
      resumeAt: 0,
      duration: 3600,
      watched: [],
      watchedSeconds: 0,
      watchTimeSeconds: 0,
      percentage: 0,
      completed: false,
      lastWatched: null,
      epoch: 0,
      version: 0,
    });
    expect(await service.readCourse(user.userId, "c")).toMatchObject({
      totalFiles: 2,
      completedFiles: 0,
      totalDuration: 3660,
      percentage: 0,
      version: 0,
      lessons: [{}],
      files: [{}, {}],
    });
    await expect(service.readFile(user.userId, "nowhere")).rejects.toMatchObject({ code: "unknown_file" });
    await expect(service.readCourse(user.userId, "nowhere")).rejects.toMatchObject({ code: "not_found" });
  });

  it("calls onAccepted for every accepted beat, and for no refused one", async () => {
    const user = newUser();
    accepted.length = 0;
    await service.heartbeat(user, { fileId: "short", position: 2, state: "paused" });
    await expect(service.heartbeat(user, { fileId: "nowhere", position: 2 })).rejects.toMatchObject({
      code: "unknown_file",
    });
    expect(accepted).toEqual([
      {
        ...user,
        file: expect.objectContaining({ fileId: "short", lessonId: "l", courseId: "c", durationMs: 60_000 }),
        beat: { fileId: "short", position: 2, state: "paused" },
        leaseMs: 30_000,
      },
    ]);
  });
});
