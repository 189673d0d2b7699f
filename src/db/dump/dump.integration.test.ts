import { PassThrough, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../../test/helpers/database.ts";
import { fillDatabase, readEveryRow } from "../../../test/helpers/filled-database.ts";
import { recount } from "../../../test/helpers/recount.ts";
import { createLogger } from "../../logger.ts";
import { migrate } from "../migrate.ts";
import { readSchemaFiles } from "../schema-files.ts";
import { dumpDatabase } from "./dump-database.ts";
import { restoreDatabase } from "./restore-database.ts";

/*
 * A restore gives back every row of the dump, whatever text it holds. A restore that fails leaves the database as it
 * was. All of it without pg_dump, which many machines do not have in a version that fits.
 */

const logger = createLogger({ level: "silent" });
const findTools = () => Promise.reject(new Error("no tools are needed here"));

describe("a dump without pg_dump", () => {
  let source: TestDatabase;
  let dump: Buffer;
  let target: TestDatabase;

  beforeAll(async () => {
    source = await createTestDatabase();
    await fillDatabase(source);
    dump = await take(source);
  });
  beforeEach(async () => {
    target = await createTestDatabase();
    await target.query("SELECT 1"); // So the test itself is connected: it must not count as a server.
  });
  afterEach(() => target.drop());
  afterAll(() => source.drop());

  async function take(database: TestDatabase): Promise<Buffer> {
    const output = new PassThrough();
    const [bytes] = await Promise.all([
      buffer(output),
      dumpDatabase({ directUrl: database.url }, { output, tools: null }),
    ]);
    return bytes;
  }

  function restore(bytes: Buffer, { into = target, force = false } = {}) {
    // Pieces end in the middle of lines.
    const pieces = Array.from({ length: Math.ceil(bytes.length / 1000) }, (_, i) =>
      bytes.subarray(i * 1000, i * 1000 + 1000),
    );
    return restoreDatabase({ directUrl: into.url, input: Readable.from(pieces), force, findTools, logger });
  }

  /** The dump after somebody changed its text by hand. */
  function edited(change: (text: string) => string): Buffer {
    return gzipSync(change(gunzipSync(dump).toString("utf8")));
  }

  it("fills an empty, migrated database with the same rows in every table", async () => {
    const { by, rows } = (await restore(dump)) as { by: string; rows: number };
    const [expected, got] = [await readEveryRow(source), await readEveryRow(target)];
    expect(got).toEqual(expected);
    expect(by).toBe("playhead");
    expect(rows).toBe(Object.values(expected).flat().length);
    // No table was empty, so every table was tested.
    expect(Object.entries(expected).filter(([, list]) => list.length === 0)).toEqual([]);
  });

  it("restores sums that equal a recount, and leaves triggers on that keep them so", async () => {
    await restore(dump);
    const before = await recount(target);
    expect(before.stored).toEqual(before.recounted);
    expect(Object.keys(before.stored).length).toBeGreaterThan(4);
    await target.query("UPDATE user_progress SET watched = '{[0,9000)}' WHERE user_id = 'ann' AND file_id = 'f2'");
    const after = await recount(target);
    expect(after.stored).toEqual(after.recounted);
    expect(after.stored).not.toEqual(before.stored);
    expect(await target.query("SELECT tgname FROM pg_trigger WHERE tgenabled <> 'O' AND NOT tgisinternal")).toEqual([]);
    await expect(target.query("TRUNCATE user_progress")).rejects.toThrow();
  });

  it("gives later rows new ids, and versions higher than any client has seen", async () => {
    await restore(dump);
    const highest = "SELECT max(id)::int AS id, max(version)::int AS version FROM user_progress";
    const [before] = await source.query<{ id: number; version: number }>(highest);
    await target.query("INSERT INTO user_progress (user_id, file_id) VALUES ('cid', 'f3')");
    const [after] = await target.query<{ id: number; version: number }>(highest);
    expect(after?.id).toBeGreaterThan(before?.id as number);
    expect(after?.version).toBeGreaterThan((before?.version as number) + 1_000_000_000);
  });

  it("makes tables where there are none, and the partitions of the dump", async () => {
    const empty = await createTestDatabase({ migrated: false });
    try {
      await restore(dump, { into: empty });
      expect(await readEveryRow(empty)).toEqual(await readEveryRow(source));
      const where =
        "SELECT tableoid::regclass::text AS partition, count(*)::int FROM user_activity_log GROUP BY 1 ORDER BY 1";
      expect(await empty.query(where)).toEqual(await source.query(where));
    } finally {
      await empty.drop();
    }
  });

  it("fills tables of an older version, then brings them up to date", async () => {
    const [older, empty] = [
      await createTestDatabase({ migrated: false }),
      await createTestDatabase({ migrated: false }),
    ];
    try {
      const all = (await readSchemaFiles()).migrations.map(({ name }) => name);
      await migrate({ connectionString: older.url, logger, only: all.slice(0, 2) });
      await older.query("INSERT INTO users (id) VALUES ('ann')");
      await restore(await take(older), { into: empty });
      expect(await empty.query("SELECT id FROM users")).toEqual([{ id: "ann" }]);
      expect(await empty.query("SELECT name FROM schema_migrations ORDER BY name")).toEqual(
        all.map((name) => ({ name })),
      );
    } finally {
      await Promise.all([older.drop(), empty.drop()]);
    }
  });

  it("refuses a database that has rows, unless it may delete them", async () => {
    await target.query("INSERT INTO users (id) VALUES ('somebody')");
    await expect(restore(dump)).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("users") });
    expect(await target.query("SELECT id FROM users")).toEqual([{ id: "somebody" }]);
    await fillDatabase(target);
    await restore(dump, { force: true });
    expect(await readEveryRow(target)).toEqual(await readEveryRow(source));
  });

  it("refuses a database that a server is connected to", async () => {
    const client = await target.pool.connect();
    try {
      await client.query("SET application_name = 'playhead-writer'");
      await expect(restore(dump, { force: true })).rejects.toThrow("playhead-writer");
    } finally {
      await client.query("RESET application_name");
      client.release();
    }
  });

  it.each<[string, () => Buffer, string]>([
    ["is cut off", () => dump.subarray(0, dump.length - 20), "cut off"],
    ["ends in the middle of a table", () => edited((text) => text.slice(0, text.indexOf("\\.\n"))), "cut off"],
    ["is damaged", () => Buffer.concat([dump.subarray(0, -8), Buffer.alloc(8, 7)]), "damaged"],
    ["has no last line", () => edited((text) => text.slice(0, text.lastIndexOf("-- "))), "cut off"],
    ["lacks a row", () => edited((text) => text.replace(/^cid\t.*\n/m, "")), "users 2 of 3 rows"],
    ["names a table twice", () => edited((text) => text.replace('COPY "users"', 'COPY "lessons"')), "answered|column"],
    ["comes from another version", () => edited((text) => text.replace("0001_", "0099_")), "no such migration 0099_"],
    ["has had another text", () => edited((text) => text.replace(/(0001_\w+":")\w/, "$1-")), "no such migration 0001_"],
    ["is something else", () => gzipSync("SELECT 1;\n"), "no dump of Playhead"],
    ["is not even packed", () => Buffer.from("SELECT 1;\n"), "neither"],
    ["is empty", () => Buffer.alloc(0), "neither"],
  ])("changes nothing where the dump %s", async (_, make, message) => {
    await target.query("INSERT INTO settings VALUES ('kept', 'yes')");
    const before = await readEveryRow(target);
    await expect(restore(make(), { force: true })).rejects.toThrow(new RegExp(message));
    expect(await readEveryRow(target)).toEqual(before);
  });

  it("refuses a database that has had other migrations than the dump", async () => {
    await target.query("DELETE FROM schema_migrations WHERE name LIKE '0004%'");
    await expect(restore(dump)).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("0004_") });
  });

  it("holds the rows of one moment while others go on writing", async () => {
    const client = await source.pool.connect();
    const text: string[] = [];
    try {
      const output = new PassThrough({ highWaterMark: 1 });
      const dumped = dumpDatabase({ directUrl: source.url }, { output, tools: null });
      const reading = buffer(output);
      await client.query("INSERT INTO users (id) VALUES ('late')");
      await client.query("INSERT INTO user_progress (user_id, file_id) VALUES ('late', 'f1')");
      await dumped;
      text.push(gunzipSync(await reading).toString("utf8"));
    } finally {
      await client.query("DELETE FROM users WHERE id = 'late'");
      client.release();
    }
    // Either the user with its progress and sums, or none of these.
    await restore(gzipSync(text.join("")));
    const sums = await recount(target);
    expect(sums.stored).toEqual(sums.recounted);
  });
});
