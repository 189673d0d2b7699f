import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { connect } from "../helpers/socket-client.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * No user takes what all users need: connections to the database.
 */

const FILES = 2000;
let database: TestDatabase;
let server: TestServer;

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startTestServer(database, serverEnv(database));
  const files = Array.from({ length: FILES }, (_, i) => ({ id: `f${i}`, title: `${i}`, durationSeconds: 100 }));
  await putCourse(server.url, "long", { title: "Long", lessons: [{ id: "l1", title: "One", files }] });
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

describe("a user who resets a course of 2,000 files 150 times at once", () => {
  it("gets each call answered, by few resets, while others go on and the server stays ready", async () => {
    const [mallory, alice] = await Promise.all([
      connect(server.url, "/player", await mintToken("mallory")),
      connect(server.url, "/player", await mintToken("alice")),
    ]);
    // The first reset waits until the server has all the calls, however fast it would be.
    const other = await database.pool.connect();
    await other.query("BEGIN");
    await other.query("SELECT lock_writers('operation', ARRAY['mallory'], ARRAY['long'])");
    const resets = Array.from({ length: 150 }, () => mallory.call("progress:reset", { courseId: "long" }));
    const [beat, read, ready] = await Promise.all([
      alice.call("heartbeat", { fileId: "f1", position: 10 }),
      alice.call("progress:get", { fileId: "f1" }),
      fetch(`${server.url}/readyz`),
    ]);
    expect([beat.ok, read.ok, ready.status]).toEqual([true, true, 200]);
    expect(await mallory.call("progress:get", { fileId: "f1" })).toMatchObject({ ok: true, progress: { epoch: 0 } });
    await other.query("COMMIT");
    other.release();
    expect((await Promise.all(resets)).every((answer) => answer.ok)).toBe(true);
    const rows = await database.query<{ count: number }>(
      "SELECT count(*)::int AS count FROM user_activity_log WHERE user_id = 'mallory' AND activity_type = 'reset'",
    );
    // One reset runs, and those that come meanwhile are one.
    expect(rows[0]?.count).toBeLessThan(20);
    // No file has a row, and yet each has the epoch of the last reset.
    expect(await database.query("SELECT FROM user_progress WHERE user_id = 'mallory'")).toEqual([]);
    expect(await mallory.call("progress:get", { fileId: "f1" })).toMatchObject({ progress: { epoch: rows[0]?.count } });
    mallory.close();
    alice.close();
  });
});
