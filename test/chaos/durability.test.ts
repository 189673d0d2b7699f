import { afterEach, describe, expect, it } from "vitest";
import { embeddedUrl, makeDataFolder, removeDataFolder } from "../helpers/data-folder.ts";
import { createTestDatabase } from "../helpers/database.ts";
import {
  COURSE_ID,
  FILE_IDS,
  type FlowEnvironment,
  putLoadCourse,
  startFlowServer,
  users,
} from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type Load, startLoad } from "../helpers/load-players.ts";
import { findBrokenPromises, findCuts } from "../helpers/oracle.ts";
import { queryOf } from "../helpers/query.ts";
import { createRandomOfRun } from "../helpers/random.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * The promise of an ack: an acked heartbeat survives the death of the server at any moment.
 */

describe("a server that is killed under load", () => {
  let server: ServerProcess;
  let load: Load;
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    load?.stop();
    await server?.kill();
    for (const clean of cleanups.splice(0).reverse()) await clean();
  });

  /** Kills the server under load at random moments, and starts it again on the same port each time. */
  async function killUnderLoad(given: FlowEnvironment, options: { kills: number; players: number }): Promise<void> {
    const random = createRandomOfRun();
    const env = { PORT: await findFreePort(), ...given };
    server = await startFlowServer(env);
    await putLoadCourse(server.url);
    load = await startLoad({ url: server.url, users: users(options.players), fileIds: FILE_IDS, mintToken });
    for (let kill = 0; kill < options.kills; kill++) {
      await load.ackedMore(1 + random.below(4 * options.players));
      await server.kill();
      server = await startFlowServer(env);
    }
    await load.ackedMore(options.players);
    await load.settle();
  }

  it("has every acked heartbeat in its own PostgreSQL, each with its user, and exact sums", async () => {
    const dataDir = await makeDataFolder();
    cleanups.push(() => removeDataFolder(dataDir));
    await killUnderLoad({ PLAYHEAD_DATA_DIR: dataDir }, { kills: 3, players: 50 });
    expect(await findBrokenPromises(load, queryOf(await embeddedUrl(dataDir)), COURSE_ID)).toEqual([]);
    expect(findCuts(load)).toEqual([]);
    load.stop();
    expect(await server.stop()).toBe(0);
  });

  it("has every acked heartbeat in a PostgreSQL that outlives it, each with its user, and exact sums", async () => {
    const database = await createTestDatabase();
    cleanups.push(() => database.drop());
    await killUnderLoad({ DATABASE_URL: database.url }, { kills: 6, players: 50 });
    expect(await findBrokenPromises(load, queryOf(database.url), COURSE_ID)).toEqual([]);
    expect(findCuts(load)).toEqual([]);
    load.stop();
    expect(await server.stop()).toBe(0);
  });
});
