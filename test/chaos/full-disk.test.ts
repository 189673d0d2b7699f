import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { embeddedUrl, makeDataFolder, removeDataFolder } from "../helpers/data-folder.ts";
import { COURSE_ID, FILE_IDS, putLoadCourse, startFlowServer, users } from "../helpers/flow-server.ts";
import { type Load, startLoad } from "../helpers/load-players.ts";
import { findBrokenPromises } from "../helpers/oracle.ts";
import { startTestPostgres, type TestPostgres } from "../helpers/postgres.ts";
import { queryOf } from "../helpers/query.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { maySmallDisk, openSmallDisk, type SmallDisk } from "../helpers/small-disk.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * The disk that holds progress is full. Only root may mount a small disk.
 */

const PLAYERS = 20;
/** Their rows do not fit into the pages that there are. */
const NEW_PLAYERS = 110;

describe.skipIf(!(await maySmallDisk()))("a full disk", () => {
  let disk: SmallDisk;
  let postgres: TestPostgres;
  let server: ServerProcess;
  const loads: Load[] = [];

  beforeEach(async () => {
    disk = await openSmallDisk(4);
    postgres = await startTestPostgres();
    const query = queryOf(postgres.url);
    await query(`CREATE TABLESPACE small LOCATION '${disk.folder}'`);
    await query("ALTER TABLE user_progress SET TABLESPACE small");
    server = await startFlowServer({ ACK_DEADLINE_MS: "1500", LOG_LEVEL: "warn", DATABASE_URL: postgres.url });
    await putLoadCourse(server.url);
  });
  afterEach(async () => {
    for (const load of loads.splice(0)) load.stop();
    await server?.kill();
    await postgres?.stop();
    await disk?.remove();
  });

  async function play(userIds: string[], firstWindow: number): Promise<Load> {
    const load = await startLoad({ url: server.url, users: userIds, fileIds: FILE_IDS, mintToken, firstWindow });
    loads.push(load);
    return load;
  }

  async function expectReady(status: 200 | 503): Promise<void> {
    await waitFor(async () => (await fetch(`${server.url}/readyz`)).status === status, {
      what: `/readyz to say ${status}`,
      timeoutMs: 20_000,
    });
  }

  it("loses no beat: players are told when to try again, and all is written when there is space", async () => {
    const early = await play(users(PLAYERS), 0);
    await early.ackedMore(2 * early.streams.length);
    await disk.fill();
    const fresh = Array.from({ length: NEW_PLAYERS }, (_, i) => `fresh-${i}`);
    const late = await play(fresh, PLAYERS * FILE_IDS.length);
    for (let i = 0; i < NEW_PLAYERS; i++) await late.refused(({ code }) => code === "unavailable");
    await expectReady(503);
    await disk.makeRoom();
    await expectReady(200);
    await Promise.all([early.settle(), late.settle()]);
    const both = { streams: [...early.streams, ...late.streams] };
    expect(await findBrokenPromises(both, queryOf(postgres.url), COURSE_ID)).toEqual([]);
    const refusals = [...early.refusals, ...late.refusals];
    expect(refusals.filter(({ code, retryAfterMs }) => code !== "unavailable" || retryAfterMs === undefined)).toEqual(
      [],
    );
    expect(server.process.stderr()).toContain("53100");
    expect(server.process.stderr().trim().split("\n").length).toBeLessThan(20);
  });

  it("stops the embedded PostgreSQL, and the server goes on by itself when there is space", async () => {
    const dataDir = await makeDataFolder();
    const large = await openSmallDisk(160);
    await promisify(execFile)("cp", ["-a", `${dataDir}/.`, large.folder]);
    await removeDataFolder(dataDir);
    const own = await startFlowServer({ ACK_DEADLINE_MS: "1500", PLAYHEAD_DATA_DIR: large.folder });
    try {
      await putLoadCourse(own.url);
      const load = await startLoad({ url: own.url, users: users(PLAYERS), fileIds: FILE_IDS, mintToken });
      loads.push(load);
      await load.ackedMore(load.streams.length);
      const url = await embeddedUrl(large.folder);
      await large.fill();
      // The next segment of the WAL does not fit, and PostgreSQL cannot go on without it.
      const isGone = () =>
        queryOf(url)("SELECT pg_switch_wal()").then(
          () => false,
          (error: { code?: string }) => error.code === "ECONNREFUSED",
        );
      await waitFor(isGone, { what: "PostgreSQL to stop", timeoutMs: 20_000 });
      for (let i = 0; i < 2 * load.streams.length; i++) await load.refused(({ code }) => code === "unavailable");
      await large.makeRoom();
      await load.ackedMore(load.streams.length);
      await load.settle();
      expect(await findBrokenPromises(load, queryOf(await embeddedUrl(large.folder)), COURSE_ID)).toEqual([]);
      expect(load.refusals.filter(({ code }) => code !== "unavailable")).toEqual([]);
    } finally {
      await own.stop();
      await large.remove();
    }
  });
});
