import { afterEach, beforeEach, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { FILE_IDS, putLoadCourse, startFlowServer } from "../helpers/flow-server.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { connect } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * An error that no part of the server catches.
 */

/** Breaks the server's process on a signal, past every guard: once as an exception, and once as a rejection. */
const FAULTS = `process.on("SIGUSR2", () => {
  Promise.reject(new Error("planned rejection"));
  throw new Error("planned exception");
})`;

let database: TestDatabase;
let server: ServerProcess;

beforeEach(async () => {
  database = await createTestDatabase();
  server = await startFlowServer({
    DATABASE_URL: database.url,
    DRAIN_MS: "1000",
    NODE_OPTIONS: `--import "data:text/javascript,${encodeURIComponent(FAULTS)}"`,
  });
  await putLoadCourse(server.url);
});
afterEach(async () => {
  await server.kill();
  await database.drop();
});

it("is logged once, and the server writes what waits, tells its clients to come back, and exits with 1", async () => {
  const player = await connect(server.url, "/player", await mintToken("alice"));
  const beat = player.call("heartbeat", { fileId: FILE_IDS[0], position: 10 });
  server.process.child.kill("SIGUSR2");
  expect(await beat).toMatchObject({ ok: true });
  expect(await server.process.exited).toBe(1);
  await player.hear("server:draining");
  expect(await database.query("select position_ms from user_progress")).toEqual([{ position_ms: 10_000 }]);
  const fatal = server.process.stderr().match(/"level":60.*planned exception/g);
  expect(fatal).toHaveLength(1);
  player.close();
});
