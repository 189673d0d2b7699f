import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { completeLockFile, type LockFile } from "./complete-lock-file.ts";

const lock: LockFile = JSON.parse(await readFile(new URL("../package-lock.json", import.meta.url), "utf8"));

it("finds every uWebSockets.js binary in the lock file, so that `npm ci` takes it on every system", () => {
  expect(JSON.stringify(completeLockFile(lock)), "Run `npx tsx scripts/complete-lock-file.ts`.").toBe(
    JSON.stringify(lock),
  );
});

it("adds binaries that npm left out, each below the package that wants its version", () => {
  const packages = Object.entries(lock.packages).filter(([path]) => !/@uwsjs\/(darwin|win32|linux-arm)/.test(path));
  expect(packages.length).toBeLessThan(Object.keys(lock.packages).length);
  expect(completeLockFile({ ...lock, packages: Object.fromEntries(packages) })).toEqual(lock);
});
