import { access, constants, mkdir, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Invocation, parseCommandLine } from "./cli.ts";
import { connections } from "./connections/connections.ts";
import { fanout } from "./fanout/fanout.ts";
import { growth } from "./growth/growth.ts";
import { CLEANUP_SECONDS, runAndEnd } from "./harness/cleanup.ts";
import { describeEnvironment } from "./harness/environment.ts";
import { FlagError } from "./harness/flags.ts";
import { showProgress } from "./harness/progress.ts";
import type { Subcommand } from "./harness/section.ts";
import { ingest } from "./ingest/ingest.ts";
import { renderForTerminal } from "./render/markdown.ts";
import { type Report, writeReport } from "./render/page.ts";
import { runInTurn } from "./run-in-turn.ts";
import { soak } from "./soak/soak.ts";
import { validate } from "./validate/validate.ts";
import { writer } from "./writer/writer.ts";

/* Runs one subcommand, or all in turn. README.md explains the figures. */

/** In the order of the page. */
const REPORTED: readonly Subcommand[] = [ingest, fanout, connections, validate, soak, growth];
/** These print their figures, and have no section. */
const TOOLS: readonly Subcommand[] = [writer];
const ORDER = REPORTED.map(({ name }) => name);
const REPORT_FOLDER = fileURLToPath(new URL("./report", import.meta.url));

async function main(): Promise<void> {
  const all = [...REPORTED, ...TOOLS];
  const invocation = parseCommandLine(process.argv.slice(2), all);
  if (invocation === null) return;
  const subcommand = all.find(({ name }) => name === invocation.name);
  if (subcommand !== undefined) {
    return await runAndEnd(() => runOne(subcommand, invocation), subcommand.limitSeconds);
  }
  const seconds = REPORTED.reduce((sum, { limitSeconds }) => sum + limitSeconds + CLEANUP_SECONDS * 2, 0);
  await runAndEnd(() => runInTurn(REPORTED, invocation.common), seconds);
}

/** Runs a subcommand, prints its section, and writes the files that the flags ask for. */
async function runOne({ name, run }: Subcommand, { common, flags }: Invocation): Promise<void> {
  const { isQuick, json, report } = common;
  // Rough figures replace those of a full run only if the flags name a folder.
  const folder = !ORDER.includes(name) || (isQuick && report === null) ? null : resolve(report ?? REPORT_FOLDER);
  // A folder that is not writable has to fail before half an hour of measuring.
  for (const place of [json && dirname(resolve(json)), folder]) {
    if (place === null) continue;
    await mkdir(place, { recursive: true });
    await access(place, constants.W_OK);
  }
  const environment = await describeEnvironment();
  const progress = showProgress(name);
  const findings = await run({ isQuick, flags, tell: progress.tell });
  progress.end();
  if (findings === null) return;
  // Flags leave out windows, and so the rows of tables and plots.
  const tables = findings.tables.filter(({ rows }) => rows.length > 0);
  const plots = findings.plots.filter(({ series }) => series.some(({ points }) => points.length > 0));
  const section = { command: name, takenAt: new Date().toISOString(), ...findings, tables, plots };
  const told: Report = { environment, isQuick, section };
  console.log(renderForTerminal(section));
  if (json !== null) await writeFile(json, `${JSON.stringify({ reports: [told] }, null, 2)}\n`);
  if (folder !== null && !section.isPartial) {
    await writeReport(folder, told, ORDER);
    console.log(`The report is renewed: ${folder}/index.md`);
  }
  // For `runInTurn`, if it started this process.
  if (process.send !== undefined) await new Promise((done) => process.send?.(told, undefined, undefined, done));
}

try {
  await main();
} catch (error) {
  if (!(error instanceof FlagError)) throw error;
  console.error(`loadtest: ${error.message}`);
  process.exitCode = 1;
}
