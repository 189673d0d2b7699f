import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { createLogger } from "../logger.ts";
import { UnconfirmedCommit } from "./commit.ts";
import { createPool, withTransaction } from "./pool.ts";
import { isTransient, sqlStateOf } from "./sqlstate.ts";

describe("the pool", () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase({ migrated: false });
    await database.query("create table note (id int primary key)");
  });
  afterAll(() => database.drop());

  const open = (options: { max?: number; queryTimeoutMs?: number } = {}) =>
    createPool({
      connectionString: database.url,
      max: options.max ?? 2,
      queryTimeoutMs: options.queryTimeoutMs ?? 5000,
      applicationName: "pool-test",
      logger: createLogger({ level: "silent" }),
    });

  it("reads bigint as number and timestamptz as Date", async () => {
    const [row] = await database.query("select 5::bigint as big, array[1, null]::bigint[] as list, now() as at");
    expect(row).toMatchObject({ big: 5, list: [1, null], at: expect.any(Date) });
  });

  it("refuses a bigint that a number cannot hold", async () => {
    await expect(database.query("select 9007199254740993::bigint")).rejects.toThrow(RangeError);
    await expect(database.query("select 1")).resolves.toHaveLength(1);
  });

  it("survives the end of idle and of busy connections", async () => {
    const pool = open();
    const held = await pool.connect();
    const idle = await pool.connect();
    idle.release();
    const failure = held.query("select pg_sleep(30)").catch((error: unknown) => error);
    await database.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pool-test'");
    expect(isTransient(await failure)).toBe(true);
    held.release(true);
    await waitFor(() => pool.totalCount === 0, { what: "the pool to drop the ended connections" });
    await expect(pool.query("select 1")).resolves.toMatchObject({ rowCount: 1 });
    await pool.end();
  });

  it("ends a statement that takes too long, on the server too", async () => {
    const pool = open({ queryTimeoutMs: 200 });
    const failure = await pool.query("select pg_sleep(30)").catch((error: unknown) => error);
    expect(sqlStateOf(failure)).toBe("57014");
    await pool.end();
  });

  it("ends a connection that stays idle in the middle of a transaction", async () => {
    const pool = open();
    const limit = await pool.query("show idle_in_transaction_session_timeout");
    expect(limit.rows).toEqual([{ idle_in_transaction_session_timeout: "10s" }]);
    const failure = await withTransaction(pool, async (client) => {
      await client.query("set local idle_in_transaction_session_timeout = '10ms'");
      const gone = "select from pg_stat_activity where application_name = 'pool-test' and pid = $1";
      const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
      await waitFor(async () => (await database.query(gone, [rows[0]?.pid])).length === 0, { what: "its end" });
      await client.query("select 1");
    }).catch((error: unknown) => error);
    expect(isTransient(failure)).toBe(true);
    await expect(pool.query("select 1")).resolves.toMatchObject({ rowCount: 1 });
    await pool.end();
  });

  it("rolls back work that throws, and uses the connection again", async () => {
    const pool = open({ max: 1 });
    const work = withTransaction(pool, async (client) => {
      await client.query("insert into note values (1)");
      throw new Error("no");
    });
    await expect(work).rejects.toThrow("no");
    await expect(pool.query("select from note")).resolves.toMatchObject({ rowCount: 0 });
    await pool.end();
  });

  it("fails when COMMIT rolled back", async () => {
    const pool = open();
    const work = withTransaction(pool, async (client) => {
      await client.query("select 1 / 0").catch(() => undefined);
    });
    await expect(work).rejects.toThrow("rolled back");
    await pool.end();
  });

  it("fails where PostgreSQL warns while it commits, and not where a statement before warns", async () => {
    await database.query(`
      CREATE TABLE warned (id int);
      CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'not safe'; RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON warned INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()`);
    const pool = open();
    const failure = await withTransaction(pool, (client) => client.query("insert into warned values (1)")).catch(
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(UnconfirmedCommit);
    expect(isTransient(failure)).toBe(true);
    await withTransaction(pool, async (client) => {
      await client.query("set constraints all immediate");
      await client.query("insert into warned values (2)");
    });
    await pool.end();
  });

  it("hands out no connection that is not admitted", async () => {
    let isRight = false;
    const pool = createPool({
      connectionString: database.url,
      max: 2,
      queryTimeoutMs: 5000,
      applicationName: "admitted-test",
      logger: createLogger({ level: "silent" }),
      async admit(client) {
        await client.query("select 1");
        if (!isRight) throw new Error("the wrong server");
      },
    });
    await expect(pool.query("select 1")).rejects.toThrow("the wrong server");
    expect(pool.totalCount).toBe(0);
    isRight = true;
    await expect(pool.query("select 1")).resolves.toMatchObject({ rowCount: 1 });
    await pool.end();
  });

  it("commits the work, and returns its result", async () => {
    const pool = open();
    const id = await withTransaction(pool, async (client) => {
      const { rows } = await client.query<{ id: number }>("insert into note values (7) returning id");
      return rows[0]?.id;
    });
    expect(id).toBe(7);
    await expect(database.query("select id from note")).resolves.toEqual([{ id: 7 }]);
    await pool.end();
  });
});
