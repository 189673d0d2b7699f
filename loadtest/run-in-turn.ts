import { fork } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { CommonFlags } from "./cli.ts";
import { endProcess } from "./harness/child-process.ts";
import { assertRunning, CLEANUP_SECONDS, onEnd } from "./harness/cleanup.ts";
import type { Subcommand } from "./harness/section.ts";
import { renderAims } from "./render/markdown.ts";
import type { Report } from "./render/page.ts";

/*
 * Runs all subcommands in turn, each in its own process: the end of a process ends everything that it started, and its
 * garbage does not slow the next one.
 */

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

/** Continues after a failure. @throws Error with the names of the subcommands that failed */
export async function runInTurn(subcommands: readonly Subcommand[], common: CommonFlags): Promise<void> {
  const reports: Report[] = [];
  const failed: string[] = [];
  for (const subcommand of subcommands) {
    assertRunning();
    const report = await runInProcess(subcommand, common);
    if (report === null) failed.push(subcommand.name);
    else reports.push(report);
  }
  const aims = reports.flatMap(({ section }) => section.aims);
  if (aims.length > 0) console.log(`\n${renderAims(aims)}\n`);
  if (common.json !== null) await writeFile(common.json, `${JSON.stringify({ reports }, null, 2)}\n`);
  if (failed.length > 0) throw new Error(`not measured: ${failed.join(", ")}; the reasons are told above`);
}

/** @returns null after a failure */
async function runInProcess({ name, limitSeconds }: Subcommand, common: CommonFlags): Promise<Report | null> {
  const args = [name, ...(common.isQuick ? ["--quick"] : [])];
  if (common.report !== null) args.push("--report", common.report);
  // In its own process group the child does not get Ctrl-C from the terminal: this process passes it on, once.
  const child = fork(MAIN, args, { execArgv: ["--import", "tsx"], detached: true });
  let report: Report | null = null;
  child.on("message", (message) => {
    report = message as Report;
  });
  onEnd(() => endProcess(child, "SIGINT", CLEANUP_SECONDS * 1000));
  const timer = setTimeout(() => child.kill("SIGKILL"), (limitSeconds + CLEANUP_SECONDS * 2) * 1000);
  const [code] = await once(child, "exit");
  clearTimeout(timer);
  return code === 0 ? report : null;
}
