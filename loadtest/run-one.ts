import { access, constants, mkdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Invocation } from "./cli.ts";
import { describeEnvironment } from "./harness/environment.ts";
import { showProgress } from "./harness/progress.ts";
import type { Subcommand } from "./harness/section.ts";
import type { Report } from "./render/page.ts";
import { writeReport } from "./render/report-folder.ts";
import { renderForTerminal } from "./render/terminal.ts";

const REPORT_FOLDER = fileURLToPath(new URL("./report", import.meta.url));

/** Runs a subcommand, prints what it measured, and writes it where the flags say. */
export async function runOne(
  subcommand: Subcommand,
  { common, flags }: Invocation,
  order: readonly string[],
): Promise<Report> {
  const folder = reportFolder(common);
  // After half an hour of measuring is late to learn that a file cannot be written.
  if (common.json !== null) await assertWritable(dirname(resolve(common.json)));
  if (folder !== null) await assertWritable(folder);
  const environment = await describeEnvironment();
  const progress = showProgress(subcommand.name);
  const section = await subcommand.run({
    isQuick: common.isQuick,
    flags,
    progress: (what, share) => progress.tell(what, share),
  });
  progress.end();
  const report = { environment, isQuick: common.isQuick, section };
  console.log(renderForTerminal(section));
  if (common.json !== null) await writeJson(common.json, [report]);
  if (folder !== null && !section.isPartial) {
    await writeReport(folder, report, order);
    console.log(`${join(folder, "index.md")} has it too.`);
  }
  return report;
}

export async function writeJson(file: string, reports: Report[]): Promise<void> {
  await writeFile(file, `${JSON.stringify({ reports }, null, 2)}\n`);
}

/** Rough figures do not replace those of a full run, unless they are told to. */
function reportFolder({ isQuick, report }: Invocation["common"]): string | null {
  return report !== null ? resolve(report) : isQuick ? null : REPORT_FOLDER;
}

async function assertWritable(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await access(folder, constants.W_OK);
}
