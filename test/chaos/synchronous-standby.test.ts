import { describe, expect, it } from "vitest";
import type { DatabaseAddress } from "../helpers/database-address.ts";
import { COURSE_ID } from "../helpers/flow-server.ts";
import type { Load } from "../helpers/load-players.ts";
import { findBrokenPromises } from "../helpers/oracle.ts";
import { usePairUnderLoad } from "../helpers/pair-under-load.ts";
import { type PostgresPair, STANDBY_NAME } from "../helpers/postgres-pair.ts";
import { type Query, queryOf } from "../helpers/query.ts";
import { runPlayhead } from "../helpers/run-playhead.ts";
import { readMetric } from "../helpers/server-calls.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Every commit waits for a synchronous standby. The standby goes away, and comes back or takes over.
 */

const WRITERS = 2;
/** The commits that wait are counted; those that xAPI makes by itself would be among them. */
const ENVIRONMENT = { ACK_DEADLINE_MS: "1500", QUERY_TIMEOUT_MS: "1000", WRITERS: String(WRITERS), XAPI: "false" };

describe("a synchronous standby", () => {
  let pair: PostgresPair;
  let address: DatabaseAddress;
  let server: ServerProcess;
  let load: Load;
  let query: Query;

  usePairUnderLoad({ env: ENVIRONMENT, settings: { synchronous_standby_names: STANDBY_NAME } }, (started) => {
    ({ pair, address, server, load } = started);
    query = queryOf(pair.primary.url);
  });

  async function findWaiting(pool: string): Promise<number[]> {
    const rows = await query<{ pid: number }>(
      "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'SyncRep'",
      [pool],
    );
    return rows.map(({ pid }) => pid);
  }

  async function cancelWaiting(pool: string): Promise<void> {
    await waitFor(async () => (await findWaiting(pool)).length > 0, { what: "a commit to wait for the standby" });
    await query(
      "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'SyncRep'",
      [pool],
    );
  }

  async function loseStandby(): Promise<void> {
    // The acks of commits that the standby has.
    await load.settle();
    pair.cutReplication();
    await waitFor(async () => (await query("SELECT FROM pg_stat_replication")).length === 0, {
      what: "the standby to go",
    });
  }

  async function post(path: string, body: object = {}) {
    const response = await fetch(`${server.url}${path}`, {
      method: "POST",
      signal: AbortSignal.timeout(30_000),
      headers: { authorization: `Bearer ${await mintToken("ines", "instructor")}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as { stream?: { id: string } } };
  }

  it("must have a beat before it is acked, also where somebody cancels the commit that waits for it", async () => {
    await loseStandby();
    const acked = load.ackedCount;
    load.resume();
    // The second one is of a batch whose rows are all stored already: it writes nothing, and waits all the same.
    for (let i = 0; i < 4; i++) await cancelWaiting("playhead-writer");
    await load.refused(({ code }) => code === "unavailable");
    expect(load.ackedCount).toBe(acked);
    await pair.primary.killImmediately();
    await pair.standby.promote();
    address.moveTo(pair.standby.port);
    await load.ackedMore(load.streams.length);
    await load.settle();
    expect(await findBrokenPromises(load, queryOf(pair.standby.url), COURSE_ID)).toEqual([]);
  });

  it("must have what a call changed before the call is answered as done, also where a call before it has changed all", async () => {
    const { body } = await post("/v1/streams", { title: "Lecture" });
    const id = body.stream?.id;
    const revoke = () => post(`/v1/streams/${id}/revoke`);
    const account = { username: "lost", email: "lost@example.org", password: "not on the standby" };
    await loseStandby();

    for (const [pool, call] of [
      ["playhead", revoke],
      ["playhead", revoke],
      ["playhead-reserved", () => post("/v1/auth/register", account)],
    ] as const) {
      const [answer] = await Promise.all([call(), cancelWaiting(pool)]);
      expect(answer).toMatchObject({ status: 503, body: { code: "unavailable" } });
    }
    // The first of these gives up a commit that waits, and the others do not leave one more behind.
    for (let i = 0; i < 3; i++) expect((await revoke()).status).toBe(503);
    expect(await findWaiting("playhead")).toHaveLength(1);

    pair.restoreReplication();
    await waitFor(async () => (await revoke()).status === 200, { what: "the revoke to be safe", timeoutMs: 30_000 });
    await pair.primary.killImmediately();
    await pair.standby.promote();
    const [stream] = await queryOf(pair.standby.url)("SELECT status FROM streams WHERE id = $1", [id]);
    expect(stream).toEqual({ status: "revoked" });
  });

  it("leaves one commit and one probing connection for each writer while it is away", async () => {
    pair.cutReplication();
    const most = { writers: 0, waiting: 0 };
    const look = async () => {
      const [found] = await query<typeof most>(
        `SELECT count(*) FILTER (WHERE application_name = 'playhead-writer') AS writers,
           count(*) FILTER (WHERE wait_event = 'SyncRep') AS waiting FROM pg_stat_activity`,
      );
      most.writers = Math.max(most.writers, found?.writers ?? 0);
      most.waiting = Math.max(most.waiting, found?.waiting ?? 0);
    };
    // By then every player was refused several times, so that every writer has given up a commit.
    for (let i = 0; i < 3 * load.streams.length; i++) {
      await load.refused(({ code }) => code === "unavailable");
      if (i % 5 === 0) await look();
    }
    // Neither listeners nor the relay leave a commit behind.
    expect(most.waiting).toBeLessThanOrEqual(WRITERS);
    expect(most.writers).toBeLessThanOrEqual(2 * WRITERS);
    expect(await readMetric(server.url, "playhead_db_commits_waiting")).toBeGreaterThan(0);
    const doctor = await runPlayhead(["doctor"], { cwd: process.cwd(), env: { DATABASE_URL: pair.primary.url } });
    expect(doctor.code).toBe(1);
    expect(doctor.stdout).toMatch(
      /^wrong {2}standby: no synchronous standby \(standby\) is connected, and \d+ commits? wait/m,
    );

    pair.restoreReplication();
    await load.ackedMore(load.streams.length);
    await load.settle();
    expect(await findBrokenPromises(load, query, COURSE_ID)).toEqual([]);
    expect(load.refusals.filter(({ code }) => code !== "unavailable")).toEqual([]);
  });
});
