import { chmod, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { makeDataFolder, removeDataFolder } from "../helpers/data-folder.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { fillDatabase, readEveryRow } from "../helpers/filled-database.ts";
import { putLoadCourse, startFlowServer } from "../helpers/flow-server.ts";
import { runPlayhead } from "../helpers/run-playhead.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";

/*
 * `playhead db dump` and `playhead db restore` as an operator uses them.
 */

describe("dump and restore on the command line", () => {
  let folder: string;
  let source: TestDatabase;
  let target: TestDatabase;

  beforeAll(async () => {
    folder = await makeTemporaryFolder();
    source = await createTestDatabase();
    await fillDatabase(source);
  });
  beforeEach(async () => {
    target = await createTestDatabase();
  });
  afterEach(() => target.drop());
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
    await source.drop();
  });

  const db = (database: TestDatabase, ...args: string[]) =>
    runPlayhead(["db", ...args], { cwd: folder, env: { DATABASE_URL: database.url } });

  it("copy every row by a file that only its owner may read", async () => {
    const file = join(folder, "rows.dump");
    const dumped = await db(source, "dump", "--no-tools", file);
    expect(dumped).toEqual({
      code: 0,
      stdout: "",
      stderr: expect.stringMatching(/^Dumped \d+ tables with \d+ rows to /),
    });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await db(target, "restore", file)).toEqual({
      code: 0,
      stdout: "",
      stderr: expect.stringMatching(/^Restored \d+ tables with \d+ rows\.\n$/),
    });
    expect(await readEveryRow(target)).toEqual(await readEveryRow(source));
    const doctor = await runPlayhead(["doctor"], { cwd: folder, env: { DATABASE_URL: target.url } });
    expect(doctor).toMatchObject({ code: 0, stdout: expect.stringContaining("equal to a recount in 2 courses") });
  });

  it("dump without pg_dump where none of version 18 is installed, and say so", async () => {
    const old = await makeTools("old", { version: "15.9" });
    const { code, stderr } = await db(source, "dump", "--tools", old, join(folder, "none.dump"));
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /pg_dump and pg_restore 18 or newer are needed, installed is only 15\.9\..*postgresql-client-18/,
    );
    const env = { DATABASE_URL: source.url, PATH: `${old}:/nowhere` };
    const without = await runPlayhead(["db", "dump", join(folder, "own.dump")], { cwd: folder, env });
    // This machine may have version 18 in a folder that is not in the PATH.
    if (!/with pg_dump/.test(without.stderr)) expect(without.stderr).toMatch(/^Without pg_dump.*\nDumped \d+ tables/);
    expect(without.code).toBe(0);
  });

  it("use pg_dump and pg_restore of version 18, and put no password among their arguments", async () => {
    const tools = await makeTools("new", { version: "18.3" });
    const file = join(folder, "archive.dump");
    const dumped = await db(source, "dump", "--tools", tools, file);
    expect(dumped).toMatchObject({ code: 0, stderr: expect.stringContaining("Dumped with pg_dump 18.3") });
    expect(await readFile(file, "utf8")).toBe("PGDMP and so on");
    const { pathname } = new URL(source.url);
    expect(await readFile(join(tools, "pg_dump.args"), "utf8")).toMatch(
      new RegExp(
        `^--format=custom --no-owner --no-privileges --dbname=postgres://playhead@\\S+${pathname} password=playhead-test\n$`,
      ),
    );

    const restored = await db(target, "restore", "--tools", tools, file);
    expect(restored).toMatchObject({ code: 0, stderr: expect.stringContaining("Restored with pg_restore 18.3") });
    expect(await readFile(join(tools, "pg_restore.args"), "utf8")).toMatch(
      /^--no-owner --no-privileges --single-transaction --exit-on-error --clean --if-exists --dbname=\S+ password=playhead-test\n$/,
    );
    expect(await readFile(join(tools, "pg_restore.input"), "utf8")).toBe("PGDMP and so on");
  });

  it("show the error of pg_dump when it fails, and leave no file", async () => {
    const tools = await makeTools("failing", { version: "18.3", fails: "the disk is on fire" });
    const file = join(folder, "failed.dump");
    const { code, stderr } = await db(source, "dump", "--tools", tools, file);
    expect({ code, stderr }).toEqual({ code: 1, stderr: "pg_dump ended with 3: the disk is on fire\n" });
    await expect(stat(file)).rejects.toThrow("ENOENT");
    await expect(stat(`${file}.unfinished`)).rejects.toThrow("ENOENT");
  });

  it("refuse a file that is no dump or does not exist, in one line", async () => {
    const file = join(folder, "text");
    await writeFile(file, "hello");
    expect(await db(target, "restore", file)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^This is neither.*\n$/),
    });
    const missing = await db(target, "restore", join(folder, "missing"));
    expect(missing).toMatchObject({ code: 1, stderr: expect.stringMatching(/^The dump cannot be read: ENOENT.*\n$/) });
  });

  it("dump beside a running server, and refuse to restore below it, even with --force", async () => {
    const dataDir = await makeDataFolder();
    const env = { PLAYHEAD_DATA_DIR: dataDir };
    const server = await startFlowServer(env);
    try {
      await putLoadCourse(server.url);
      const file = join(folder, "beside.dump");
      expect(await runPlayhead(["db", "dump", "--no-tools", file], { cwd: folder, env })).toMatchObject({ code: 0 });
      const refused = await runPlayhead(["db", "restore", "--force", file], { cwd: folder, env });
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^Playhead is connected .*stop every server/),
      });
      expect(await server.stop()).toBe(0);
      // No server runs now: the command starts the embedded PostgreSQL itself.
      const restored = await runPlayhead(["db", "restore", "--force", file], { cwd: folder, env });
      expect(restored).toMatchObject({ code: 0, stderr: expect.stringMatching(/^Restored /) });
    } finally {
      await server.kill();
      await removeDataFolder(dataDir);
    }
  });

  /**
   * Makes fakes of pg_dump and pg_restore of some version, which write down their arguments. No distribution that the
   * tests run on has the real ones of version 18.
   */
  async function makeTools(name: string, { version, fails }: { version: string; fails?: string }): Promise<string> {
    const tools = join(folder, name);
    await mkdir(tools);
    const failure = fails === undefined ? "" : `echo '${fails}' >&2; exit 3`;
    const work = { pg_dump: "printf 'PGDMP and so on'", pg_restore: `cat > ${tools}/pg_restore.input` };
    for (const [tool, what] of Object.entries(work)) {
      const lines = [
        "#!/bin/sh",
        `if [ "$1" = --version ]; then echo "${tool} (PostgreSQL) ${version} (${name})"; exit; fi`,
        `echo "$* password=$PGPASSWORD" > ${tools}/${tool}.args`,
        failure,
        what,
      ];
      await writeFile(join(tools, tool), lines.join("\n"));
      await chmod(join(tools, tool), 0o755);
    }
    return tools;
  }
});
