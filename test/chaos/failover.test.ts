import { describe, expect, it } from "vitest";
import type { DatabaseAddress } from "../helpers/database-address.ts";
import { COURSE_ID } from "../helpers/flow-server.ts";
import type { Load } from "../helpers/load-players.ts";
import { findBrokenPromises } from "../helpers/oracle.ts";
import { usePairUnderLoad } from "../helpers/pair-under-load.ts";
import type { PostgresPair } from "../helpers/postgres-pair.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { watchTopics } from "../helpers/watching-dashboard.ts";

/*
 * The database's address leads to another server: to a standby for a while, or to a standby that has taken over.
 */

const COURSE_TOPIC = `course:${COURSE_ID}`;

describe("a failover of the database", () => {
  let pair: PostgresPair;
  let address: DatabaseAddress;
  let server: ServerProcess;
  let load: Load;

  usePairUnderLoad({ env: { ACK_DEADLINE_MS: "1500", QUERY_TIMEOUT_MS: "1500" } }, (started) => {
    ({ pair, address, server, load } = started);
  });

  async function expectReady(status: 200 | 503): Promise<void> {
    await waitFor(async () => (await fetch(`${server.url}/readyz`)).status === status, {
      what: `/readyz to say ${status}`,
      timeoutMs: 20_000,
    });
  }

  /** Resolves when the standby has all that the primary has. */
  async function standbyFollowed(): Promise<void> {
    await load.settle();
    await waitFor(async () => (await lastBeatAt(pair.primary.url)) === (await lastBeatAt(pair.standby.url)), {
      what: "the standby to catch up",
    });
  }

  async function lastBeatAt(url: string): Promise<string> {
    return JSON.stringify(await queryOf(url)("SELECT max(version) AS version, count(*) FROM user_progress"));
  }

  function refusedOtherwise() {
    return load.refusals.filter(({ code, retryAfterMs }) => code !== "unavailable" || retryAfterMs === undefined);
  }

  it("stays with no connection to a standby, and writes again as soon as the address leads to the primary", async () => {
    address.moveTo(pair.standby.port);
    await load.refused(({ code }) => code === "unavailable");
    await expectReady(503);
    // Nor does anybody read there: a standby may be behind what was acked.
    const headers = { authorization: `Bearer ${await mintToken("root", "admin")}` };
    const course = await fetch(`${server.url}/v1/courses/${COURSE_ID}`, { headers });
    expect([course.status, await course.json()]).toMatchObject([503, { code: "unavailable" }]);
    // Connections that lead to the standby by now are not cut.
    address.spreadOver([pair.primaryPort]);
    await load.ackedMore(2 * load.streams.length);
    await expectReady(200);
    await load.settle();
    expect(await findBrokenPromises(load, queryOf(pair.primary.url), COURSE_ID)).toEqual([]);
    expect(refusedOtherwise()).toEqual([]);
  });

  it("gives no version twice after a failover that lost commits, and shows what the new primary has", async () => {
    const dashboard = await watchTopics({
      url: server.url,
      token: await mintToken("root", "admin"),
      topics: [COURSE_TOPIC],
    });
    await standbyFollowed();
    pair.cutReplication();
    load.resume();
    await load.ackedMore(2 * load.streams.length);
    // Nobody stops the old primary, and no connection to it is cut but one.
    await pair.standby.promote();
    const query = queryOf(pair.standby.url);
    const [promoted] = await query<{ at: Date }>("SELECT clock_timestamp() AS at");
    const old = queryOf(pair.primary.url);
    address.spreadOver([pair.standby.port]);
    await old(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'playhead-writer' LIMIT 1",
    );
    const left = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'playhead%'";
    await waitFor(async () => (await old(left)).length === 0, { what: "every connection to the old primary to end" });
    await load.ackedMore(2 * load.streams.length);
    await load.settle();
    const [last] = await old<{ version: number }>("SELECT last_value AS version FROM progress_version");
    const [first] = await query<{ version: number }>(
      "SELECT min(version) AS version FROM user_progress WHERE updated_at > $1",
      [promoted?.at],
    );
    expect(first?.version).toBeGreaterThan(last?.version ?? Number.POSITIVE_INFINITY);
    expect(await query("SELECT * FROM playhead_check_course($1)", [COURSE_ID])).toEqual([]);
    expect(refusedOtherwise()).toEqual([]);
    await expectShown(query, dashboard);
    dashboard.close();
  });

  it("refuses a server that another has taken over from", async () => {
    await standbyFollowed();
    await pair.standby.promote();
    address.moveTo(pair.standby.port);
    load.resume();
    await load.ackedMore(2 * load.streams.length);
    const before = await lastBeatAt(pair.primary.url);
    address.moveTo(pair.primaryPort);
    await load.refused(({ code }) => code === "unavailable");
    await expectReady(503);
    expect(await lastBeatAt(pair.primary.url)).toBe(before);
    address.moveTo(pair.standby.port);
    await expectReady(200);
    await load.ackedMore(load.streams.length);
    await load.settle();
    expect(await findBrokenPromises(load, queryOf(pair.standby.url), COURSE_ID)).toEqual([]);
    expect(await lastBeatAt(pair.primary.url)).toBe(before);
  });
});

async function expectShown(query: Query, dashboard: Awaited<ReturnType<typeof watchTopics>>): Promise<void> {
  const stored = await query<object>(
    `SELECT user_id AS "userId", watched_ms / 1000.0::float8 AS watched FROM course_progress ORDER BY user_id COLLATE "C"`,
  );
  const shown = () =>
    dashboard
      .view(COURSE_TOPIC)
      .courses.map(({ userId, watchedDuration }) => ({ userId, watched: watchedDuration }))
      .sort((a, b) => (a.userId < b.userId ? -1 : 1));
  await expect.poll(shown, { timeout: 15_000, interval: 50 }).toEqual(stored);
}
