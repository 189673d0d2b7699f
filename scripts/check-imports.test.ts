import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findBreaches } from "./check-imports.ts";

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "check-imports-"));
});

afterEach(() => rm(root, { recursive: true }));

async function breachesOf(files: Record<string, string>): Promise<string[]> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  return findBreaches(root);
}

it("accepts imports of the same part and of lower rows", async () => {
  const text = 'import { b } from "./b.ts";\nimport type { Pool } from "../db/pool.ts";\n';
  expect(await breachesOf({ "progress/a.ts": text, "progress/b.ts": "", "db/pool.ts": "" })).toEqual([]);
});

it("refuses an import of a higher row, even of a type", async () => {
  expect(await breachesOf({ "db/pool.ts": 'import type { Hub } from "../live/hub.ts";\n' })).toEqual([
    "db/pool.ts imports live/hub.ts: db may not depend on live.",
  ]);
});

it("refuses an import of another part in the same row, also over several lines or at run time", async () => {
  const files = {
    "live/hub.ts": 'export {\n  type Writer,\n} from "../progress/writer.ts";\n',
    "streams/gate.ts": 'const hub = await import("../live/hub.ts");\n',
  };
  expect(await breachesOf(files)).toEqual([
    "live/hub.ts imports progress/writer.ts: live may not depend on progress.",
    "streams/gate.ts imports live/hub.ts: streams may not depend on live.",
  ]);
});

it("refuses a folder that no row names", async () => {
  expect(await breachesOf({ "helpers/a.ts": 'import "../errors.ts";\n' })).toEqual([
    "helpers/a.ts imports errors.ts: helpers may not depend on errors.ts.",
  ]);
});

it("refuses imports of the server's parts and of Node's modules in parts that run in browsers", async () => {
  const text = 'import { join } from "node:path";\nimport { Pool } from "../db/pool.ts";\n';
  expect(await breachesOf({ "client/player.ts": text })).toEqual([
    "client/player.ts imports db/pool.ts: client may not depend on db.",
    "client/player.ts imports node:path: client runs in browsers.",
  ]);
});

it("refuses two files that import each other, even for types", async () => {
  const files = { "live/a.ts": 'import type { B } from "./b.ts";\n', "live/b.ts": 'import { a } from "./a.ts";\n' };
  expect(await breachesOf(files)).toEqual(["live/a.ts imports live/b.ts imports live/a.ts: a circle."]);
});

it("does not check tests, which may import everything", async () => {
  expect(await breachesOf({ "db/pool.test.ts": 'import "../live/hub.ts";\n' })).toEqual([]);
});
