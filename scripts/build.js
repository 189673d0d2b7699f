/*
 * Builds dist/: the server and the SDK with tsc, the pages with Vite. It is plain JavaScript because npm's `prepare` also
 * runs it, with `--where-possible`, in installations with production dependencies only. There it leaves dist as it is.
 */

import { spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const pages = "src/dashboard/vite.config.ts";

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
}
