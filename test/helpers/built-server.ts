import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

/*
 * The server as JavaScript. The global setup builds it once a run, because a process that compiles the TypeScript by
 * itself needs three times the CPU to start, and the tests start some hundreds.
 */

const ROOT = join(import.meta.dirname, "../..");
/** Directly below the root, as dist/ is: the server finds its migrations and pages from there. */
const FOLDER = ".test-build";

/** The entry point: `serve`, `migrate`, `doctor` and the other commands. */
export const SERVER_MAIN = join(ROOT, FOLDER, "main.js");

/** Compiles what has changed since the last run. `npm run check` finds the type errors; this does not look for them. */
export async function buildServer(): Promise<void> {
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  const options = ["--outDir", FOLDER, "--incremental", "--tsBuildInfoFile", `${FOLDER}/tsbuildinfo`];
  await promisify(execFile)(
    process.execPath,
    [tsc, "-p", "tsconfig.build.json", ...options, "--noCheck", "--declaration", "false"],
    { cwd: ROOT },
  );
}
