import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SERVER_MAIN } from "../test/helpers/built-server.ts";
import { createTestDatabase, type TestDatabase } from "../test/helpers/database.ts";
import { runProcess } from "../test/helpers/run-process.ts";
import { makeTemporaryFolder } from "../test/helpers/temporary-folder.ts";
import { createBuiltinTokens } from "./auth/builtin-tokens.ts";
import { startEmbeddedPostgres } from "./db/embedded/embedded-postgres.ts";
import { createLogger } from "./logger.ts";

describe("the command line", () => {
  let database: TestDatabase;
  let folder: string;
  beforeAll(async () => {
    database = await createTestDatabase();
    folder = await makeTemporaryFolder();
  });
  afterAll(async () => {
    await database.drop();
    await rm(folder, { recursive: true });
  });

  async function playhead(args: string[], env: Record<string, string> = {}) {
    const run = runProcess(SERVER_MAIN, args, {
      cwd: folder,
      env: { DATABASE_URL: undefined, AUTH_SECRET: undefined, PLAYHEAD_DATA_DIR: join(folder, "data"), ...env },
    });
    const code = await run.exited;
    return { code, stdout: run.stdout(), stderr: run.stderr() };
  }

  it("lists its commands, and prints its version", async () => {
    const help = await playhead(["--help"]);
    expect(help.code).toBe(0);
    expect(help.stdout).toMatch(/serve[\s\S]*migrate[\s\S]*token[\s\S]*doctor/);
    expect(await playhead(["--version"])).toMatchObject({ code: 0, stdout: "0.1.0\n" });
  });

  it("lists all mistakes in the configuration, without a stack, and exits with 1", async () => {
    const { code, stdout, stderr } = await playhead(["migrate"], { PORT: "x", WRITERS: "0" });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/PORT: got "x"[\s\S]*WRITERS: got "0"/);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it("reads .env if there is one, and lets the environment override it", async () => {
    const home = join(folder, "home");
    await mkdir(home);
    await writeFile(join(home, ".env"), "PORT=wrong-in-file\nWRITERS=wrong-in-file\n");
    const run = runProcess(SERVER_MAIN, ["migrate"], {
      cwd: home,
      env: { PORT: "wrong-outside", DATABASE_URL: database.url },
    });
    expect(await run.exited).toBe(1);
    expect(run.stderr()).toMatch(/PORT: got "wrong-outside"[\s\S]*WRITERS: got "wrong-in-file"/);
    expect(run.stdout()).toBe("");
  });

  it("explains that the database cannot be reached", async () => {
    const { code, stderr } = await playhead(["migrate"], { DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" });
    expect(code).toBe(1);
    expect(stderr).toBe("The database cannot be reached: connect ECONNREFUSED 127.0.0.1:1\n");
  });

  it("migrates an empty database, and mints tokens with its secret only after that", async () => {
    const empty = await createTestDatabase({ migrated: false });
    const env = { DATABASE_URL: empty.url };
    const early = await playhead(["token", "--user", "alice", "--role", "learner"], env);
    expect(early).toMatchObject({ code: 1, stderr: expect.stringContaining("run `playhead migrate`") });
    expect(await playhead(["migrate"], env)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Applied 0001_/),
    });
    expect(await playhead(["migrate"], env)).toMatchObject({ code: 0, stdout: "Nothing to migrate\n" });
    const minted = await playhead(["token", "--user", "alice", "--role", "learner", "--ttl", "60"], env);
    expect(minted).toMatchObject({ code: 0, stderr: "" });
    const [kept] = await empty.query<{ value: string }>("select value from settings where name = 'auth_secret'");
    const { verify } = createBuiltinTokens({ secret: kept?.value ?? "", ttlSeconds: 1 });
    const caller = await verify(minted.stdout.trim());
    expect(caller).toMatchObject({ userId: "alice", role: "learner" });
    expect(caller.expiresAt.getTime() - Date.now()).toBeLessThanOrEqual(60_000);
    await empty.drop();
  });

  it.each([
    [["token", "--role", "learner"], "--user"],
    [["token", "--user", "a", "--role", "king"], "learner, instructor, admin"],
    [["token", "--user", "", "--role", "admin"], "1 to 128 characters"],
    [["token", "--user", "a", "--role", "admin", "--ttl", "1"], "--ttl"],
    [["dance"], "unknown command"],
  ])("refuses the arguments %j", async (args, reason) => {
    const { code, stdout, stderr } = await playhead(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain(reason);
  });

  it("reports a healthy installation", async () => {
    const { code, stdout } = await playhead(["doctor"], { DATABASE_URL: database.url });
    expect(stdout.split("\n")).toEqual([
      "ok  configuration: every variable is valid",
      expect.stringMatching(/^ok {2}database: PostgreSQL 18/),
      "ok  writing: the database takes writes",
      "ok  standby: no synchronous standby is configured",
      "ok  migrations: all applied",
      "ok  functions: all as in this version",
      "ok  listening: a notification came through",
      expect.stringMatching(/^ok {2}aggregates: equal to a recount in \d+ courses?$/),
      "",
    ]);
    expect(code).toBe(0);
  });

  it("names the functions that are not as in this version, until they are migrated", async () => {
    const env = { DATABASE_URL: database.url };
    await database.query("update schema_functions set sha256 = 'another' where name in ('log_activity', 'user_lock')");
    const found = await playhead(["doctor"], env);
    expect(found.stdout).toMatch(/^wrong {2}functions: not as in this version: log_activity, user_lock\. Run /m);
    expect(found.code).toBe(1);
    expect(await playhead(["migrate"], env)).toMatchObject({
      code: 0,
      stdout: "Applied functions: log_activity, user_lock\n",
    });
    expect(await playhead(["doctor"], env)).toMatchObject({ code: 0 });
  });

  it("reports aggregates that differ from a recount, and repairs them on request", async () => {
    await database.query("insert into users (id) values ('u')");
    await database.query("insert into courses (id, title) values ('c', 'C')");
    await database.query("insert into lessons (id, course_id, title, position) values ('l', 'c', 'L', 0)");
    await database.query(
      "insert into files (id, lesson_id, course_id, title, position, duration_ms) values ('f', 'l', 'c', 'F', 0, 10000)",
    );
    await database.query(
      `insert into user_progress (user_id, file_id, lesson_id, course_id, watched) values ('u', 'f', 'l', 'c', '{[0,4000)}')`,
    );
    await database.query("update course_progress set watched_ms = watched_ms + 1");
    const env = { DATABASE_URL: database.url };
    const found = await playhead(["doctor"], env);
    expect(found.stdout).toMatch(
      /wrong {2}aggregates: 1 row differs from a recount[\s\S]*course c: course c of user u/,
    );
    expect(found.code).toBe(1);
    const mended = await playhead(["doctor", "--repair"], env);
    expect(mended.stdout).toContain("ok  aggregates: equal to a recount in 1 course; 1 row repaired");
    expect(mended.code).toBe(0);
    expect(await playhead(["doctor"], env)).toMatchObject({ code: 0 });
  });

  it("uses the embedded PostgreSQL of a running server, and otherwise starts one for the command", async () => {
    const dataDir = join(folder, "data");
    expect(await playhead(["migrate"])).toMatchObject({ code: 0, stdout: expect.stringContaining("Applied 0001_") });
    const postgres = await startEmbeddedPostgres({ dataDir, logger: createLogger({ level: "silent" }) });
    expect(await playhead(["doctor"])).toMatchObject({ code: 0, stderr: "" });
    await postgres.stop();
    expect(await playhead(["doctor"])).toMatchObject({ code: 0, stderr: "" });
  });
});
