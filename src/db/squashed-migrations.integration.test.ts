import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createEarlierDatabase } from "../../test/helpers/earlier-database.ts";
import { readLastBeforeSquash } from "../../test/helpers/earlier-schemas.ts";
import { readSchemaCatalogue } from "../../test/helpers/schema-catalogue.ts";
import { createLogger } from "../logger.ts";
import { dumpDatabase } from "./dump/dump-database.ts";
import { migrate } from "./migrate.ts";

let database: TestDatabase;
beforeEach(async () => {
  database = await createEarlierDatabase(await readLastBeforeSquash());
});
afterEach(() => database.drop());

const run = () => migrate({ connectionString: database.url, logger: createLogger({ level: "silent" }) });

async function addProgress(userId: string): Promise<void> {
  await database.query("INSERT INTO users (id) VALUES ($1)", [userId]);
  await database.query(
    `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, watched)
     VALUES ($1, 'f1', 'l1', 'c1', '{[0,60000)}'), ($1, 'f2', 'l1', 'c1', '{[500,1500)}')`,
    [userId],
  );
}

it("gives a database from before the squash the schema of a fresh one, and keeps its progress and sums", async () => {
  await database.query("INSERT INTO courses (id, title) VALUES ('c1', 'Course')");
  await database.query("INSERT INTO lessons (id, course_id, title) VALUES ('l1', 'c1', 'Lesson')");
  await database.query(
    `INSERT INTO files (id, lesson_id, course_id, title, duration_ms)
     VALUES ('f1', 'l1', 'c1', 'One', 60000), ('f2', 'l1', 'c1', 'Two', 30000)`,
  );
  await addProgress("ann");
  const readProgress = () => database.query("SELECT * FROM user_progress ORDER BY id");
  const before = await readProgress();

  const { migrations, functions } = await run();
  // Of the squashed migrations none runs; later ones do.
  expect(migrations.filter((name) => name < "0005")).toEqual([]);
  expect(functions).toContain("lock_writers");
  expect(await readProgress()).toMatchObject(before);
  const fresh = await createTestDatabase();
  expect(await readSchemaCatalogue(database)).toEqual(await readSchemaCatalogue(fresh));
  await fresh.drop();

  await addProgress("bob");
  expect(await database.query("SELECT * FROM playhead_check_course('c1')")).toEqual([]);
  const sums = "SELECT user_id, completed_files, watched_ms FROM course_progress ORDER BY 1";
  expect(await database.query(sums)).toEqual([
    { user_id: "ann", completed_files: 1, watched_ms: 61_000 },
    { user_id: "bob", completed_files: 1, watched_ms: 61_000 },
  ]);
  expect(await run()).toEqual({ migrations: [], functions: [] });
});

it("weighs files of unknown duration, and cuts what was watched past the end, in the sums of an older database", async () => {
  await database.query("INSERT INTO courses (id, title) VALUES ('c1', 'Course')");
  await database.query("INSERT INTO lessons (id, course_id, title) VALUES ('l1', 'c1', 'Lesson')");
  await database.query(
    `INSERT INTO files (id, lesson_id, course_id, title, duration_ms)
     VALUES ('f1', 'l1', 'c1', 'One', 60000), ('f2', 'l1', 'c1', 'Two', 30000), ('f3', 'l1', 'c1', 'Three', NULL)`,
  );
  await addProgress("ann");
  await database.query("UPDATE files SET duration_ms = 1000 WHERE id = 'f2'");
  await database.query("DELETE FROM files WHERE id = 'f1'");
  await run();
  expect(await database.query("SELECT * FROM playhead_check_course('c1')")).toEqual([]);
  const sums = "SELECT total_ms, assumed_ms, watched_ms, contribution_ms, progress_percentage FROM course_progress";
  expect(await database.query(sums)).toEqual([
    { total_ms: 1000, assumed_ms: 1000, watched_ms: 500, contribution_ms: 1000, progress_percentage: "50.00" },
  ]);
});

it("refuses a database whose tables no text of the old migrations made, and changes nothing", async () => {
  await database.query("ALTER TABLE user_progress DROP COLUMN watch_time_ms");
  const before = await readSchemaCatalogue(database);
  await expect(run()).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("0008_write_beats"),
  });
  expect(await readSchemaCatalogue(database)).toEqual(before);
  expect(await database.query("SELECT count(*) FROM schema_migrations")).toEqual([{ count: 9 }]);
});

it("refuses a database that has had only some of the old migrations, and names those that it does not know", async () => {
  await database.query("DELETE FROM schema_migrations WHERE name = '0010_stream_claims'");
  await expect(run()).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("0003_locks") });
});

it("makes no dump that no version could restore, but asks for the migration first", async () => {
  const dumping = dumpDatabase({ directUrl: database.url }, { output: new PassThrough(), tools: null });
  await expect(dumping).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("playhead migrate"),
  });
});
