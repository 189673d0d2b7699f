/*
 * Builds dist/: the server and the SDK with tsc, the pages and the SDK as one script with Vite. Builds the package
 * playhead-client too, which `npm pack ./packages/playhead-client` packs. It is plain JavaScript because npm's `prepare` also
 * runs it, with `--where-possible`, in installations with production dependencies only. There it leaves dist as it is.
 */

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const pages = "src/dashboard/vite.config.ts";
const clientPackage = "packages/playhead-client";

function run(tool, ...args) {
  const path = `${root}node_modules/.bin/${tool}`;
  const { status, error } = spawnSync(path, args, { cwd: root, stdio: "inherit", shell: process.platform === "win32" });
  if (status !== 0) {
    process.stderr.write(`The build failed: ${tool} ${args.join(" ")}${error ? `: ${error.message}` : ""}\n`);
    process.exit(1);
  }
}

if (process.argv.includes("--where-possible") && !existsSync(`${root}node_modules/typescript`)) {
  process.exit(0);
}
rmSync(`${root}dist`, { recursive: true, force: true });
run("tsc", "-p", "tsconfig.build.json");
if (existsSync(root + pages)) {
  run("vite", "build", "--config", pages, "--logLevel", "warn");
  run("vite", "build", "--config", "scripts/client-script.config.ts", "--logLevel", "warn");
}
if (existsSync(root + clientPackage)) {
  rmSync(`${root}${clientPackage}/dist`, { recursive: true, force: true });
  run("tsc", "-p", "tsconfig.client.json");
  copyFileSync(`${root}LICENSE`, `${root}${clientPackage}/LICENSE`);
}
