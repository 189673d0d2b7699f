import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { COURSE_ID, FILE_IDS, putLoadCourse, startFlowServer, users } from "../helpers/flow-server.ts";
import { type Load, startLoad } from "../helpers/load-players.ts";
import { findBrokenPromises, findCuts } from "../helpers/oracle.ts";
import { startTestPostgres, type TestPostgres } from "../helpers/postgres.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { watchTopics } from "../helpers/watching-dashboard.ts";

/*
 * The database answers, but cannot store anything: its disk is full, or it is read-only.
 */

const PLAYERS = 20;
const COURSE_TOPIC = `course:${COURSE_ID}`;

/** A disk without space fails whatever writes a row that needs a new page. */
const FULL = `
CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER no_space BEFORE INSERT OR UPDATE ON user_progress EXECUTE FUNCTION no_space();`;

describe("a database that cannot store anything", () => {
  let postgres: TestPostgres;
  let query: Query;
  let server: ServerProcess;
  let load: Load;

  beforeEach(async () => {
    postgres = await startTestPostgres();
    query = queryOf(postgres.url);
    server = await startFlowServer({ ACK_DEADLINE_MS: "1500", LOG_LEVEL: "warn", DATABASE_URL: postgres.url });
    await putLoadCourse(server.url);
    load = await startLoad({ url: server.url, users: users(PLAYERS), fileIds: FILE_IDS, mintToken });
    await load.ackedMore(load.streams.length);
  });
  afterEach(async () => {
    load?.stop();
    await server?.kill();
    await postgres?.stop();
  });

  const ways = [
    { what: "its disk is full", fail: [FULL], heal: ["DROP TRIGGER no_space ON user_progress"] },
    {
      what: "it is read-only",
      fail: ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"],
      heal: ["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"],
    },
  ];

  it.each(ways)(
    "tells players when to try again, and writes and shows everything afterwards, where $what",
    async (way) => {
      const token = await mintToken("root", "admin");
      const dashboard = await watchTopics({ url: server.url, token, topics: [COURSE_TOPIC] });
      for (const statement of way.fail) await query(statement);
      // After the first failed write, long before the first beat is refused.
      await expectReady(503);
      for (let i = 0; i < 3 * load.streams.length; i++) await load.refused(() => true);
      expect(load.refusals.filter((one) => one.code !== "unavailable" || one.retryAfterMs === undefined)).toEqual([]);
      // Reads go on.
      const course = await fetch(`${server.url}/v1/courses/${COURSE_ID}`, {
        headers: { authorization: `Bearer ${token}` },
      });
      expect(course.status).toBe(200);
      const lines = server.process.stderr().trim().split("\n");
      expect(lines.length).toBeLessThan(10);

      for (const statement of way.heal) await query(statement);
      await expectReady(200);
      await load.ackedMore(load.streams.length);
      await load.settle();
      expect(await findBrokenPromises(load, query, COURSE_ID)).toEqual([]);
      expect(findCuts(load)).toEqual([]);
      const stored = await query<{ version: number }>("SELECT version FROM course_progress ORDER BY version");
      const shown = () =>
        dashboard
          .view(COURSE_TOPIC)
          .courses.map(({ version }) => ({ version }))
          .sort((a, b) => a.version - b.version);
      await expect.poll(shown, { timeout: 15_000, interval: 50 }).toEqual(stored);
      dashboard.close();
    },
  );

  it("is found out to take writes again, though no player sends a heartbeat meanwhile", async () => {
    await query(FULL);
    await load.refused(({ code }) => code === "unavailable");
    load.hold();
    await expectReady(503);
    await query("DROP TRIGGER no_space ON user_progress");
    await expectReady(200);
  });

  async function expectReady(status: 200 | 503): Promise<void> {
    await waitFor(async () => (await fetch(`${server.url}/readyz`)).status === status, {
      what: `/readyz to say ${status}`,
      timeoutMs: 20_000,
    });
  }
});
