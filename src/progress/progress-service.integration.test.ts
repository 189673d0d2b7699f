import { describe, expect, it } from "vitest";
import type { TestDatabase } from "../../test/helpers/database.ts";
import { newUser, useProgressSteps } from "../../test/helpers/progress-steps.ts";
import type { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import type { ProgressService } from "./progress-service.ts";

type HeartbeatOf = Parameters<ProgressService["heartbeat"]>[1];

describe("the progress service", () => {
  let database: TestDatabase;
  let service: ProgressService;
  let catalogue: CatalogueCache;
  let accepted: unknown[];
  useProgressSteps((steps) => {
    ({ database, service, catalogue, accepted } = steps);
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

  it.each([
    ["a beat each", (beats: HeartbeatOf[]) => beats.map((beat) => [beat])],
    ["several beats at once", ([first, second, ...rest]: HeartbeatOf[]) => [[first, second], rest]],
  ])(
    "does not give the place back to a session for its earlier beat that comes late, sent as %s",
    async (_, inCalls) => {
      const user = newUser();
      const beat = (sessionId: string, seq: number, position: number, ageMs: number) => ({
        ...{ fileId: "short", sessionId, seq, position, ageMs },
      });
      const sent = [
        ...[beat("a", 5, 50, 4000), beat("b", 1, 10, 3000)],
        // By the network it looks later than both.
        beat("a", 4, 40, 1000),
      ];
      for (const call of inCalls(sent)) await service.heartbeats(user, call as HeartbeatOf[]);
      const position = async () => (await service.readFile(user.userId, "short")).position;
      expect(await position()).toBe(10);
      await service.heartbeat(user, beat("b", 2, 11, 500));
      expect(await position()).toBe(11);
      // It is not shut out: what it sees later counts.
      await service.heartbeat(user, beat("a", 6, 51, 0));
      expect(await position()).toBe(51);
      await service.heartbeat(user, beat("b", 1, 10, 0));
      expect(await position()).toBe(51);
    },
  );

  it("gives the place to a player that is there, after the database's clock was set back", async () => {
    const user = newUser();
    const beat = { fileId: "short", seq: 1 };
    await service.heartbeat(user, { ...beat, sessionId: "before", position: 10 });
    const ahead = "UPDATE user_progress SET last_watched = now() + interval '1 hour' WHERE user_id = $1";
    await database.query(ahead, [user.userId]);
    const late = { ...beat, sessionId: "offline", position: 5, ageMs: 600_000 };
    expect((await service.heartbeat(user, late)).progress.position).toBe(10);
    const live = await service.heartbeat(user, { ...beat, sessionId: "after", position: 20 });
    expect(live.progress.position).toBe(20);
    expect(Date.parse(live.progress.lastWatched as string)).toBeLessThan(Date.now() + 60_000);
    expect((await service.heartbeat(user, { ...late, seq: 2 })).progress.position).toBe(20);
    await database.query(ahead, [user.userId]);
    expect(
      (await service.heartbeat(user, { ...beat, seq: 2, sessionId: "after", position: 21 })).progress,
    ).toMatchObject({
      position: 21,
      lastWatched: expect.not.stringContaining(new Date(Date.now() + 3_600_000).toISOString().slice(0, 13)),
    });
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
