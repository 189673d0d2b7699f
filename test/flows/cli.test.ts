import { join } from "node:path";
import { io } from "socket.io-client";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { removeDataFolder } from "../helpers/data-folder.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { COURSE_ID, putLoadCourse, startFlowServer } from "../helpers/flow-server.ts";
import { runPlayhead } from "../helpers/run-playhead.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";

/*
 * The command line as a person uses it, beside a running server and without one.
 */

describe("the command line", () => {
  let folder: string;
  let database: TestDatabase;
  let server: ServerProcess | undefined;

  beforeAll(async () => {
    folder = await makeTemporaryFolder();
    database = await createTestDatabase({ migrated: false });
  });
  afterEach(async () => {
    await server?.kill();
    server = undefined;
  });
  afterAll(async () => {
    await removeDataFolder(folder);
    await database.drop();
  });

  it("explains every command with --help, and prints its version", async () => {
    const help = await runPlayhead(["--help"], { cwd: folder });
    expect(help).toMatchObject({ code: 0, stderr: "" });
    for (const command of ["serve", "migrate", "token", "doctor"]) {
      expect(help.stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"));
      expect(await runPlayhead([command, "--help"], { cwd: folder })).toMatchObject({ code: 0, stderr: "" });
    }
    expect(await runPlayhead(["--version"], { cwd: folder })).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });

  it.each(["serve", "migrate", "doctor", "token --user ann --role learner"])(
    "lists every wrong variable at once when `%s` starts, without a stack",
    async (command) => {
      const wrong = {
        PORT: "99999",
        WRITERS: "many",
        AUTH_SECRET: "short",
        DATABASE_URL: "mysql://u:hidden@h/d",
        LOG_LEVEL: "loud",
      };
      const { code, stdout, stderr } = await runPlayhead(command.split(" "), { cwd: folder, env: wrong });
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      for (const name of Object.keys(wrong)) expect(stderr).toMatch(new RegExp(`^  ${name}: got `, "m"));
      expect(stderr).not.toMatch(/^\s+at |hidden|short/m);
    },
  );

  it("migrates an empty database once", async () => {
    const env = { DATABASE_URL: database.url };
    expect(await runPlayhead(["migrate"], { cwd: folder, env })).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Applied 0001_.*0004_.*functions: .*lock_writers/),
    });
    expect(await runPlayhead(["migrate"], { cwd: folder, env })).toMatchObject({
      code: 0,
      stdout: "Nothing to migrate\n",
    });
  });

  it("mints a token that a server on the same database accepts", async () => {
    server = await startFlowServer({ DATABASE_URL: database.url, AUTH_SECRET: undefined });
    await expectAccepted(server.url, { DATABASE_URL: database.url });
  });

  it("mints a token that a server with the same data folder accepts", async () => {
    const env = { PLAYHEAD_DATA_DIR: join(folder, "data") };
    server = await startFlowServer({ ...env, AUTH_SECRET: undefined });
    await expectAccepted(server.url, env);
    expect(await server.stop()).toBe(0);
    await removeDataFolder(env.PLAYHEAD_DATA_DIR);
  });

  it("mints a token that a server with another secret refuses", async () => {
    server = await startFlowServer({ DATABASE_URL: database.url });
    const token = await mint("ann", "learner", { DATABASE_URL: database.url });
    expect(await callAs(server.url, token)).toBe(401);
  });

  it("names the port when a server cannot start because the port is taken", async () => {
    server = await startFlowServer({ DATABASE_URL: database.url });
    const port = new URL(server.url).port;
    const { code, stdout, stderr } = await runPlayhead(["serve"], {
      cwd: folder,
      env: { DATABASE_URL: database.url, PORT: port },
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(new RegExp(`^Cannot listen on 127\\.0\\.0\\.1:${port}:`));
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  async function mint(user: string, role: string, env: Record<string, string>): Promise<string> {
    const { code, stdout, stderr } = await runPlayhead(["token", "--user", user, "--role", role], { cwd: folder, env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout.trim();
  }

  /** A minted token opens a player's socket and the HTTP API, with its role's rights and no more. */
  async function expectAccepted(url: string, env: Record<string, string>): Promise<void> {
    const [learner, admin] = [await mint("ann", "learner", env), await mint("root", "admin", env)];
    await putLoadCourse(url, admin);
    await expect(putLoadCourse(url, learner)).rejects.toThrow("403");
    expect(await callAs(url, learner)).toBe(200);
    const socket = io(`${url}/player`, { auth: { token: learner }, transports: ["websocket"], reconnection: false });
    const ack = await socket.timeout(10_000).emitWithAck("progress:get", { courseId: COURSE_ID });
    expect(ack).toMatchObject({ ok: true, progress: { userId: "ann", courseId: COURSE_ID } });
    socket.disconnect();
  }
});

async function callAs(url: string, token: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  return (await fetch(`${url}/learn/api/progress/course/${COURSE_ID}`, { headers })).status;
}
