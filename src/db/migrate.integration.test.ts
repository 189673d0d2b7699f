import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { makeTemporaryFolder } from "../../test/helpers/temporary-folder.ts";
import { createLogger } from "../logger.ts";
import { assertServerVersion, migrate } from "./migrate.ts";
import { readSchemaFiles } from "./schema-files.ts";
import { createSchemaCheck, findPending } from "./schema-state.ts";

const logger = createLogger({ level: "silent" });

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
  await mkdir(join(directory, "functions"), { recursive: true });
  await database.query("drop schema public cascade");
  await database.query("create schema public");
  await write("0001_first.sql", "-- The first.\ncreate table first (id int);\ninsert into first values (1);");
  await write("0002_second.sql", "create table second (id int);");
});

const write = (name: string, sql: string) => writeFile(join(directory, name), sql);
const writeFunction = (name: string, sql: string) => write(`functions/${name}.sql`, sql);
const removeFunction = (name: string) => rm(join(directory, `functions/${name}.sql`));
const run = () => migrate({ connectionString: database.url, logger, directory });
const NOTHING = { migrations: [], functions: [] };

async function listPending() {
  const { migrations, functions, goneFunctions } = await findPending(database.pool, await readSchemaFiles(directory));
  return {
    migrations: migrations.map(({ name }) => name),
    functions: functions.map(({ name }) => name),
    goneFunctions,
  };
}

describe("numbered migrations", () => {
  it("are applied once, in the order of their numbers", async () => {
    expect((await listPending()).migrations).toEqual(["0001_first", "0002_second"]);
    expect((await run()).migrations).toEqual(["0001_first", "0002_second"]);
    expect((await listPending()).migrations).toEqual([]);
    expect(await run()).toEqual(NOTHING);
    await write("0003_third.sql", "insert into first values (3);");
    expect((await run()).migrations).toEqual(["0003_third"]);
  });

  it("are applied once when twenty processes start at the same time", async () => {
    await write("0003_slow.sql", "select pg_sleep(0.3); create table slow (id int); insert into slow values (1);");
    const applied = await Promise.all(Array.from({ length: 20 }, run));
    expect(applied.map(({ migrations }) => migrations).filter((names) => names.length > 0)).toEqual([
      ["0001_first", "0002_second", "0003_slow"],
    ]);
    expect(await database.query("select count(*)::int as rows from slow")).toEqual([{ rows: 1 }]);
  });

  it("fail with the file and the line, keep the migrations before it, and leave nothing of the failed one", async () => {
    await write("0003_broken.sql", "create table half (id int);\n\ncreate table half (id int;\n");
    await expect(run()).rejects.toThrow(/0003_broken\.sql failed at line 3: syntax error/);
    expect((await listPending()).migrations).toEqual(["0003_broken"]);
    await write("0003_broken.sql", "create table half (id int);\nselect missing from half;");
    await expect(run()).rejects.toThrow(/at line 2: column "missing" does not exist/);
    expect(await database.query("select to_regclass('half') as half")).toEqual([{ half: null }]);
  });

  it("are refused by name when their text has changed since they were applied", async () => {
    await run();
    await write("0002_second.sql", "create table second (id int, more int);");
    const refusal = {
      code: "conflict",
      message: expect.stringMatching(/migration 0002_second has changed since.*Start/),
    };
    await expect(run()).rejects.toMatchObject(refusal);
    await expect(listPending()).rejects.toMatchObject(refusal);
  });

  it("are refused by name when their number is below one that the database has had", async () => {
    await write("0004_fourth.sql", "create table fourth (id int);");
    await run();
    await write("0003_late.sql", "create table late (id int);");
    await expect(run()).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringMatching(/0003_late has a number below 0004_fourth/),
    });
    expect(await database.query("select to_regclass('late') as late")).toEqual([{ late: null }]);
  });

  it("are refused by name when the database has had some that this version does not know", async () => {
    await write("0003_newer.sql", "create table newer (id int);");
    await run();
    await rm(join(directory, "0003_newer.sql"));
    await expect(run()).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringMatching(/no migration 0003_newer\./),
    });
  });
});

describe("functions", () => {
  const twice = (factor: number) =>
    `create or replace function twice(n int) returns int language sql as $$ select n * ${factor} $$;`;
  const TRIGGER = `
    create or replace function fill() returns trigger language plpgsql as $$ begin new.id := twice(new.id); return new; end $$;
    create or replace trigger fill before insert on first for each row execute function fill();`;
  const call = async (sql: string) => (await database.query<{ it: unknown }>(`select ${sql} as it`))[0]?.it;
  const insert = async (id: number) =>
    (await database.query("insert into first values ($1) returning id", [id]))[0]?.id;

  beforeEach(async () => {
    // By name, a function that is called comes after its caller.
    await writeFunction("fill", TRIGGER);
    await writeFunction("twice", twice(2));
    await run();
  });

  it("are applied after the tables, with their triggers, in any order", async () => {
    expect(await insert(4)).toBe(8);
    expect(await run()).toEqual(NOTHING);
  });

  it("are applied again where their text has changed, and only there", async () => {
    await writeFunction("twice", twice(20));
    expect(await listPending()).toEqual({ migrations: [], functions: ["twice"], goneFunctions: [] });
    expect(await run()).toEqual({ migrations: [], functions: ["twice"] });
    expect(await insert(4)).toBe(80);
    expect(await run()).toEqual(NOTHING);
  });

  it("may change their parameters and results; the function of before is gone", async () => {
    await writeFunction(
      "twice",
      "create or replace function twice(n int) returns text language sql as $$ select 'a' $$;",
    );
    await run();
    expect(await call("twice(1)")).toBe("a");
    await writeFunction(
      "twice",
      `create or replace function twice(n int, m int) returns int language sql as $$ select n * m $$;
       comment on function twice is 'Two parameters.';`,
    );
    await run();
    expect(await call("twice(3, 4)")).toBe(12);
    await expect(call("twice(1)")).rejects.toThrow("does not exist");
  });

  it("stay the same object where only their body changed, so that a view on them may stay", async () => {
    await database.query("create view of_an_operator as select twice(1)");
    await writeFunction("twice", twice(30));
    await run();
    expect(await database.query("select * from of_an_operator")).toEqual([{ twice: 30 }]);
  });

  it("lose a trigger that their file no longer makes", async () => {
    await writeFunction("fill", TRIGGER.slice(0, TRIGGER.indexOf("create or replace trigger")));
    await run();
    expect(await insert(4)).toBe(4);
  });

  it("are dropped with their triggers when their file is gone", async () => {
    await removeFunction("fill");
    expect(await listPending()).toEqual({ migrations: [], functions: [], goneFunctions: ["fill"] });
    await run();
    expect(await insert(4)).toBe(4);
    await expect(call("fill()")).rejects.toThrow("does not exist");
    expect((await listPending()).goneFunctions).toEqual([]);
  });

  it("leave functions alone that Playhead did not make", async () => {
    await database.query("create function of_an_operator() returns int language sql as $$ select 1 $$");
    await removeFunction("fill");
    await writeFunction("twice", twice(3));
    await run();
    expect(await call("of_an_operator()")).toBe(1);
  });

  it("change all together or not at all, and the failure names the file", async () => {
    await writeFunction("fill", TRIGGER.replace("twice(new.id)", "new.id + 1"));
    await writeFunction("twice", "create or replace function twice(n int) returns int language sql as $$ selec n $$;");
    await expect(run()).rejects.toThrow(/functions\/twice\.sql failed.*syntax error/);
    expect(await insert(4)).toBe(8);
    expect((await listPending()).functions).toEqual(["fill", "twice"]);
  });
});

describe("the schema of this version", () => {
  it("has one file for each function, named after it, and no function in a numbered migration", async () => {
    const current = await createTestDatabase();
    const files = await readSchemaFiles();
    const made = await current.query<{ name: string }>(
      "select proname as name from pg_proc where pronamespace = 'public'::regnamespace order by proname collate \"C\"",
    );
    expect(files.functions.map(({ name }) => name)).toEqual(made.map(({ name }) => name));
    for (const { text } of files.migrations) expect(text).not.toMatch(/\b(FUNCTION|TRIGGER)\b(?! IS)/);
    await current.drop();
  });

  it("is not ready while a function has another text, lacks, or is unknown to this version", async () => {
    const current = await createTestDatabase();
    const check = createSchemaCheck(current.pool);
    expect(await check()).toEqual({ ok: true });
    for (const change of [
      "UPDATE schema_functions SET sha256 = 'another' WHERE name = 'log_activity'",
      "DELETE FROM schema_functions WHERE name = 'log_activity'",
      "INSERT INTO schema_functions VALUES ('newer', 'text')",
    ]) {
      await current.query(change);
      expect(await check()).toEqual({ ok: false });
      await current.query("DELETE FROM schema_functions WHERE name = 'newer'");
      await migrate({ connectionString: current.url, logger });
      expect(await check()).toEqual({ ok: true });
    }
    await current.drop();
  });
});

it("refuses a PostgreSQL that is too old, and says what to do", async () => {
  const old = { query: () => Promise.resolve({ rows: [{ number: 170_005, name: "17.5" }] }) };
  await expect(assertServerVersion(old)).rejects.toThrow(
    "needs PostgreSQL 18 or newer; the database at DATABASE_URL runs 17.5",
  );
  await expect(assertServerVersion(database.pool)).resolves.toMatch(/^1[89]/);
});
