import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { CommonFlags } from "./cli.ts";
import { assertRunning, CLEANUP_SECONDS, onEnd } from "./harness/cleanup.ts";
import type { Subcommand } from "./harness/section.ts";
import type { Report } from "./render/page.ts";
import { renderAimLines } from "./render/terminal.ts";
import { writeJson } from "./run-one.ts";

/*
 * All subcommands, one after another, each in a process of its own: what one started is ended before the next starts,
 * and what it left in its heap does not weigh on the next.
 */

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

/** Goes on after a subcommand that fails. @throws Error naming those that did */
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
  if (aims.length > 0) console.log(`\n${renderAimLines(aims)}\n`);
  if (common.json !== null) await writeJson(common.json, reports);
  if (failed.length > 0) throw new Error(`not measured: ${failed.join(", ")}; what went wrong is told above`);
}

async function runInProcess({ name, limitSeconds }: Subcommand, common: CommonFlags): Promise<Report | null> {
  const args = [name, ...(common.isQuick ? ["--quick"] : [])];
  if (common.report !== null) args.push("--report", common.report);
  const child = fork(MAIN, args, {
    execArgv: ["--import", "tsx"],
    // A group of its own: Ctrl-C reaches this process alone, which passes it on once.
    detached: true,
  });
  let report: Report | null = null;
  child.on("message", (message) => {
    report = message as Report;
  });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  onEnd(() => stop(child, exited));
  const timer = setTimeout(() => child.kill("SIGKILL"), (limitSeconds + CLEANUP_SECONDS * 2) * 1000);
  const code = await exited;
  clearTimeout(timer);
  return code === 0 ? report : null;
}

async function stop(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGINT");
  const timer = setTimeout(() => child.kill("SIGKILL"), CLEANUP_SECONDS * 1000);
  await exited;
  clearTimeout(timer);
}
