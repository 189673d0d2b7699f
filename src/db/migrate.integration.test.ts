import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { makeTemporaryFolder } from "../../test/helpers/temporary-folder.ts";
import { createLogger } from "../logger.ts";
import { assertServerVersion, migrate, pendingMigrations } from "./migrate.ts";

const logger = createLogger({ level: "silent" });

describe("migrations", () => {
  let folder: string;
  let directory: string;
  let database: TestDatabase;

  beforeAll(async () => {
    folder = await makeTemporaryFolder();
    database = await createTestDatabase({ migrated: false });
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });
  beforeEach(async () => {
    directory = join(folder, crypto.randomUUID());
    await mkdir(directory);
    await database.query("drop schema public cascade");
    await database.query("create schema public");
    await write("0001_first.sql", "-- The first.\ncreate table first (id int);\ninsert into first values (1);");
    await write("0002_second.sql", "create function twice(n int) returns int language sql as $$ select n * 2 $$;");
  });

  const write = (name: string, sql: string) => writeFile(join(directory, name), sql);
  const run = () => migrate({ connectionString: database.url, logger, directory });

  it("applies what is pending, once, in the order of the numbers", async () => {
    expect(await pendingMigrations(database.pool, directory)).toEqual(["0001_first", "0002_second"]);
    expect(await run()).toEqual(["0001_first", "0002_second"]);
    expect(await pendingMigrations(database.pool, directory)).toEqual([]);
    expect(await run()).toEqual([]);
    await write("0003_third.sql", "insert into first values (3);");
    expect(await run()).toEqual(["0003_third"]);
  });

  it("lets twenty at once migrate once", async () => {
    await write("0003_slow.sql", "select pg_sleep(0.3); create table slow (id int); insert into slow values (1);");
    const applied = await Promise.all(Array.from({ length: 20 }, run));
    expect(applied.filter((names) => names.length > 0)).toEqual([["0001_first", "0002_second", "0003_slow"]]);
    expect(await database.query("select count(*)::int as rows from slow")).toEqual([{ rows: 1 }]);
  });

  it("names the file and the line that failed, keeps what came before it, and leaves nothing of it", async () => {
    await write("0003_broken.sql", "create table half (id int);\n\ncreate table half (id int;\n");
    await expect(run()).rejects.toThrow(/0003_broken\.sql failed at line 3: syntax error/);
    expect(await pendingMigrations(database.pool, directory)).toEqual(["0003_broken"]);
    await write("0003_broken.sql", "create table half (id int);\nselect missing from half;");
    await expect(run()).rejects.toThrow(/at line 2: column "missing" does not exist/);
    expect(await database.query("select to_regclass('half') as half")).toEqual([{ half: null }]);
  });

  it("refuses a PostgreSQL that is too old, and says what to do", async () => {
    const old = { query: () => Promise.resolve({ rows: [{ number: 170_005, name: "17.5" }] }) };
    await expect(assertServerVersion(old)).rejects.toThrow(
      "needs PostgreSQL 18 or newer; the database at DATABASE_URL runs 17.5",
    );
    await expect(assertServerVersion(database.pool)).resolves.toMatch(/^1[89]/);
  });
});
