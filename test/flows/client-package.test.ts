import { execFile } from "node:child_process";
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { publint } from "publint";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";

/*
 * The package that people install, from the tarball that `npm pack` makes: in a project of its own, with socket.io-client
 * beside it and nothing else.
 */

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");
const TSC = join(ROOT, "node_modules/typescript/bin/tsc");
/** What `extrapolatePosition` alone costs, compressed. */
const MAX_EXTRAPOLATION_BYTES = 190;

const CONSUMER = `
import { attachPlayer, createDashboard, createPlayer, extrapolatePosition, type FileProgress, type Player } from "playhead-client";

const video = document.querySelector("video");
if (!video) throw new Error("no video");
const player: Player = attachPlayer(video, {
  url: "https://progress.example.org",
  token: () => fetch("/progress-token").then((answer) => answer.text()),
  fileId: "lesson-1.mp4",
});
player.on("progress", ({ percentage, completed }: FileProgress) => console.log(percentage.toFixed(), completed === true));
player.on("error", (error, beat) => console.error(error.code === "source_changed", beat?.seq?.toFixed()));
player.on("cut", (reasons) => console.log(reasons.includes("budget")));
// @ts-expect-error a file is needed
createPlayer({ token: "t" });
createDashboard({ token: "t" }).subscribe("course:algebra", ({ courses, present }) => {
  for (const one of present) extrapolatePosition(one, performance.now(), courses[0]?.totalDuration ?? null).toFixed();
});
await player.close();
`;

let folder: string;
let site: string;
let tarball: string;
let files: string[];

beforeAll(async () => {
  folder = await makeTemporaryFolder();
  const source = join(folder, "package");
  await cp(join(ROOT, "packages/playhead-client"), source, {
    recursive: true,
    filter: (path) => !path.endsWith("/dist"),
  });
  await cp(join(ROOT, "LICENSE"), join(source, "LICENSE"));
  await run(process.execPath, [TSC, "-p", join(ROOT, "tsconfig.client.json"), "--outDir", join(source, "dist")]);
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: source });
  const [packed] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
  if (!packed) throw new Error("expected npm pack to name its tarball");
  tarball = join(folder, packed.filename);
  files = packed.files.map(({ path }) => path);
  site = join(folder, "site");
  const installed = join(site, "node_modules/playhead-client");
  await mkdir(installed, { recursive: true });
  await run("tar", ["-xzf", tarball, "--strip-components=1", "-C", installed]);
  await symlink(join(ROOT, "node_modules/socket.io-client"), join(site, "node_modules/socket.io-client"));
  await writeFile(join(site, "package.json"), '{ "name": "site", "type": "module", "private": true }');
  await writeFile(join(site, "app.ts"), CONSUMER);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** What a bundler makes of some of the package's exports, beside socket.io-client. @returns its compressed size */
async function sizeOf(names: string): Promise<number> {
  await writeFile(join(site, "entry.js"), `export { ${names} } from "playhead-client";`);
  const result = await build({
    configFile: false,
    root: site,
    logLevel: "warn",
    build: {
      write: false,
      minify: true,
      rolldownOptions: {
        input: join(site, "entry.js"),
        external: ["socket.io-client"],
        preserveEntrySignatures: "strict",
      },
    },
  });
  const [first] = [result].flat();
  if (!first || !("output" in first)) throw new Error("expected Vite to build the entry");
  return gzipSync(first.output[0].code, { level: 9 }).length;
}

describe("the package playhead-client", () => {
  it("holds the library, its types and its sources, and depends on socket.io-client alone", async () => {
    const { version, dependencies } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
    const own = JSON.parse(await readFile(join(site, "node_modules/playhead-client/package.json"), "utf8"));
    expect(own).toMatchObject({ version, sideEffects: false, license: "Apache-2.0" });
    expect(own.dependencies).toEqual({ "socket.io-client": `^${dependencies["socket.io-client"]}` });
    expect(files).toEqual(expect.arrayContaining(["LICENSE", "README.md", "package.json", "dist/client/index.d.ts"]));
    const dist = join(site, "node_modules/playhead-client/dist");
    for (const name of await readdir(dist, { recursive: true })) {
      if (name.endsWith(".d.ts") || name.endsWith(".js"))
        expect(await readFile(join(dist, name), "utf8"), name).not.toMatch(/from "(zod|node:|\.\.\/\.\.\/)/);
      if (name.endsWith(".map"))
        expect(JSON.parse(await readFile(join(dist, name), "utf8")).sourcesContent, name).toHaveLength(1);
    }
  });

  it("is as publint wants a package", async () => {
    const { messages } = await publint({ pkgDir: join(site, "node_modules/playhead-client"), strict: true });
    expect(messages).toEqual([]);
  });

  it("has types that resolve wherever ES modules do", async () => {
    const attw = join(ROOT, "node_modules/@arethetypeswrong/cli/dist/index.js");
    const { stdout } = await run(process.execPath, [attw, tarball, "--profile", "esm-only", "--format", "json"]);
    expect(JSON.parse(stdout).analysis).toMatchObject({ packageName: "playhead-client", types: { kind: "included" } });
  });

  it.each([
    ["bundler", "esnext"],
    ["node16", "node16"],
  ])("compiles in a strict project under moduleResolution %s", async (moduleResolution, module) => {
    const options = ["--strict", "--noEmit", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"];
    const target = ["--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--types", ""];
    const how = ["--module", module, "--moduleResolution", moduleResolution];
    const compiled = run(process.execPath, [TSC, ...options, ...target, ...how, "app.ts"], { cwd: site });
    await expect(
      compiled.catch((error: { stdout: string }) => Promise.reject(new Error(error.stdout))),
    ).resolves.toBeTruthy();
  });

  it(`costs at most ${MAX_EXTRAPOLATION_BYTES} bytes where a page takes extrapolatePosition alone`, async () => {
    expect(await sizeOf("extrapolatePosition")).toBeLessThanOrEqual(MAX_EXTRAPOLATION_BYTES);
    expect(await sizeOf("attachPlayer")).toBeGreaterThan(3000);
  });

  it("runs in Node", async () => {
    const script = 'console.log(Object.keys(await import("playhead-client")).sort().join(" "))';
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: site });
    expect(stdout.trim()).toBe("attachPlayer createDashboard createPlayer extrapolatePosition");
  });
});
