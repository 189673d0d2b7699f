import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadAuthSecret } from "./auth-secret.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "playhead-secret-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

const load = (dataDir = folder) =>
  loadAuthSecret({ config: { embedded: true, PLAYHEAD_DATA_DIR: dataDir }, pool: null });

describe("the secret of built-in tokens", () => {
  it("is AUTH_SECRET if that is set, and nothing is written", async () => {
    const AUTH_SECRET = "x".repeat(32);
    expect(
      await loadAuthSecret({ config: { AUTH_SECRET, embedded: true, PLAYHEAD_DATA_DIR: folder }, pool: null }),
    ).toBe(AUTH_SECRET);
    expect(await readdir(folder)).toEqual([]);
  });

  it("is made once, in a file of the data folder that its owner alone can read", async () => {
    const inside = join(folder, "not", "there", "yet");
    const secret = await load(inside);
    expect(secret.length).toBeGreaterThanOrEqual(64);
    expect(await load(inside)).toBe(secret);
    expect((await stat(join(inside, "auth-secret"))).mode & 0o777).toBe(0o600);
    expect(await readdir(inside)).toEqual(["auth-secret"]);
  });

  it("is the same for twenty processes that start at once", async () => {
    const secrets = await Promise.all(Array.from({ length: 20 }, () => load()));
    expect(new Set(secrets).size).toBe(1);
    expect(await readdir(folder)).toEqual(["auth-secret"]);
  });

  it("refuses a file that was cut short, and says how to repair it", async () => {
    await writeFile(join(folder, "auth-secret"), "short\n");
    await expect(load()).rejects.toThrow(/auth-secret has 5 characters.*Delete it/);
  });

  it("needs a database if PostgreSQL is not embedded", async () => {
    await expect(
      loadAuthSecret({ config: { embedded: false, PLAYHEAD_DATA_DIR: folder }, pool: null }),
    ).rejects.toThrow(/AUTH_SECRET/);
  });
});
