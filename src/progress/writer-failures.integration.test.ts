import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { type PendingBeat, toPendingBeat } from "./pending-beat.ts";
import { isWorthRetrying, ProgressWriter } from "./progress-writer.ts";
import type { WriteResult } from "./split-batch.ts";

const silent = createLogger({ level: "silent" });

describe("a writer of heartbeats", () => {
  let database: TestDatabase;
  let writer: ProgressWriter;

  beforeAll(async () => {
    database = await createTestDatabase();
    await createCatalogueStore({ pool: database.pool }).put("course", {
      title: "Course",
      lessons: [{ id: "lesson", title: "Lesson", files: [{ id: "file", title: "File", durationSeconds: 100 }] }],
    });
    writer = new ProgressWriter({
      pool: database.pool,
      catalogue: new CatalogueCache({ pool: database.pool }),
      metrics: createMetrics(),
      logger: silent,
    });
  });
  afterEach(async () => {
    await database.query("DROP FUNCTION IF EXISTS fail CASCADE");
  });
  afterAll(() => database.drop());

  function beat(userId: string, seq: number): PendingBeat {
    return toPendingBeat({
      userId,
      fileId: "file",
      courseId: "course",
      positionMs: seq * 1000,
      observedAtMs: performance.now(),
      session: "session",
      seq,
      played: [[(seq - 1) * 1000, seq * 1000]],
    });
  }

  async function makeFail(body: string, trigger: string): Promise<void> {
    await database.query(`
      CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} RETURN NULL; END $$;
      CREATE ${trigger} EXECUTE FUNCTION fail()`);
  }

  const warnAtCommit = () =>
    makeFail(
      "RAISE WARNING 'canceling wait for synchronous replication';",
      "CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON user_progress INITIALLY DEFERRED FOR EACH ROW",
    );

  /** What the caller is told of each beat. */
  const outcomes = (results: WriteResult[]) =>
    results.map((result) => (result.type === "failed" ? result.error.code : result.type));

  it("does not ack a batch whose COMMIT warns, and counts its beats once when it is written again", async () => {
    await writer.write([beat("warned", 1)]);
    await warnAtCommit();
    const batch = [beat("warned", 2), beat("warned-new", 1)];
    const failure = await writer.write(batch).catch((error: unknown) => error);
    expect([failure, isWorthRetrying(failure)]).toEqual([expect.objectContaining({ code: "40003" }), true]);
    await database.query("DROP FUNCTION fail CASCADE");
    expect(outcomes(await writer.write(batch))).toEqual(["written", "written"]);
    expect(outcomes(await writer.write([beat("warned", 3)]))).toEqual(["written"]);
    const rows = await database.query(
      "SELECT user_id, watched_ms, watch_time_ms FROM user_progress WHERE user_id LIKE 'warned%' ORDER BY user_id",
    );
    expect(rows).toEqual([
      { user_id: "warned", watched_ms: 3000, watch_time_ms: 3000 },
      { user_id: "warned-new", watched_ms: 1000, watch_time_ms: 1000 },
    ]);
    expect(await database.query("SELECT * FROM playhead_check_course('course')")).toEqual([]);
  });

  it("acks a batch in which only the activity log warns", async () => {
    await database.query("ALTER TABLE user_activity_log ADD CONSTRAINT nothing CHECK (false) NOT VALID");
    expect(outcomes(await writer.write([beat("unlogged", 1)]))).toEqual(["written"]);
    await database.query("ALTER TABLE user_activity_log DROP CONSTRAINT nothing");
  });

  it.each(["53100", "58030", "25006"])("keeps a batch whole that fails with %s, to be written again", async (state) => {
    await makeFail(
      `RAISE EXCEPTION 'no space' USING ERRCODE = '${state}';`,
      "TRIGGER fail BEFORE INSERT OR UPDATE ON user_progress",
    );
    const failure = await writer.write([beat("full-1", 1), beat("full-2", 1)]).catch((error: unknown) => error);
    expect([failure, isWorthRetrying(failure)]).toEqual([expect.objectContaining({ code: state }), true]);
  });

  it("splits a batch that needs more locks or memory than there is", async () => {
    await makeFail(
      "IF (SELECT count(*) FROM rows) > 2 THEN RAISE EXCEPTION 'out of shared memory' USING ERRCODE = '53200'; END IF;",
      "TRIGGER fail AFTER INSERT ON user_progress REFERENCING NEW TABLE AS rows",
    );
    const batch = Array.from({ length: 9 }, (_, i) => beat(`many-${i}`, 1));
    expect(outcomes(await writer.write(batch))).toEqual(batch.map(() => "written"));
  });

  it("refuses a beat as unavailable that alone is too much for the database's memory", async () => {
    await makeFail(
      "RAISE EXCEPTION 'out of memory' USING ERRCODE = '53200';",
      "TRIGGER fail BEFORE INSERT ON user_progress",
    );
    const [result] = await writer.write([beat("alone", 1)]);
    expect(result).toMatchObject({ type: "failed", error: { code: "unavailable", retryAfterMs: expect.any(Number) } });
  });
});
