import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { embeddedUrl, makeDataFolder, removeDataFolder } from "../helpers/data-folder.ts";
import { COURSE_ID, FILE_IDS, putLoadCourse, startFlowServer, users } from "../helpers/flow-server.ts";
import { type Load, startLoad } from "../helpers/load-players.ts";
import { findBrokenPromises } from "../helpers/oracle.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import { runPlayhead } from "../helpers/run-playhead.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * `playhead doctor` beside a server under load: it finds sums that differ from a recount, and repairs them when asked.
 */

describe("the doctor", () => {
  let dataDir: string;
  let server: ServerProcess;
  let load: Load;
  let query: Query;

  beforeAll(async () => {
    dataDir = await makeDataFolder();
    server = await startFlowServer({ PLAYHEAD_DATA_DIR: dataDir });
    await putLoadCourse(server.url);
    query = queryOf(await embeddedUrl(dataDir));
    load = await startLoad({ url: server.url, users: users(10), fileIds: FILE_IDS, mintToken });
    await load.ackedMore(30);
  });
  afterAll(async () => {
    load?.stop();
    await server?.stop();
    await removeDataFolder(dataDir);
  });

  function doctor(...args: string[]) {
    return runPlayhead(["doctor", ...args], { cwd: dataDir, env: { PLAYHEAD_DATA_DIR: dataDir } });
  }

  it("finds nothing wrong while heartbeats are written", async () => {
    const { code, stdout, stderr } = await doctor();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).not.toMatch(/^(wrong|skipped)/m);
    expect(stdout).toContain("ok  aggregates: equal to a recount in 1 course");
  });

  it("lists sums that are wrong without changing them, and repairs them under load with --repair", async () => {
    await query(
      "UPDATE lesson_progress SET watched_ms = watched_ms + 7 WHERE user_id = 'learner-3' AND lesson_id = 'lesson-1'",
    );
    await query("UPDATE course_progress SET completed_files = 2 WHERE user_id = 'learner-4'");
    await query("DELETE FROM course_progress WHERE user_id = 'learner-5'");
    const found = await doctor();
    expect(found.code).toBe(1);
    expect(found.stdout).toContain(
      "wrong  aggregates: 3 rows differ from a recount (`playhead doctor --repair` mends them)",
    );
    expect(found.stdout).toContain(`course ${COURSE_ID}: lesson lesson-1 of user learner-3 is `);
    expect(found.stdout).toContain(`course ${COURSE_ID}: course ${COURSE_ID} of user learner-4 is `);
    expect(found.stdout).toContain(`course ${COURSE_ID}: course ${COURSE_ID} of user learner-5 `);
    expect((await query("SELECT * FROM playhead_check_course($1)", [COURSE_ID])).length).toBeGreaterThan(0);

    const mended = await doctor("--repair");
    expect(mended).toMatchObject({ code: 0, stderr: "" });
    expect(mended.stdout).toMatch(/^ok {2}aggregates: equal to a recount in 1 course; 3 rows repaired$/m);
    expect(await doctor()).toMatchObject({ code: 0 });
    await load.ackedMore(30);
    await load.settle();
    expect(await findBrokenPromises(load, query, COURSE_ID)).toEqual([]);
  });
});
