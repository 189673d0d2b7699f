import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Report, renderPage } from "./page.ts";
import { renderPlot } from "./plot.ts";

/** Renews one subcommand's part of a report folder: its JSON, its plots, and the page made of all JSON files there. */
export async function writeReport(folder: string, report: Report, order: readonly string[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { command, plots } = report.section;
  const before = await readReport(folder, command);
  const names = new Set(plots.map((plot) => plot.name));
  const gone = before?.section.plots.filter((plot) => !names.has(plot.name)) ?? [];
  await Promise.all(gone.map((plot) => rm(join(folder, `${plot.name}.svg`), { force: true })));
  await Promise.all(plots.map((plot) => writeFile(join(folder, `${plot.name}.svg`), renderPlot(plot))));
  await writeFile(join(folder, `${command}.json`), `${JSON.stringify(report, null, 2)}\n`);
  await writePage(folder, order);
}

/** The page from what is there. */
export async function writePage(folder: string, order: readonly string[]): Promise<void> {
  const reports = await Promise.all(order.map((name) => readReport(folder, name)));
  await writeFile(join(folder, "index.md"), renderPage(reports.filter((report) => report !== null)));
}

async function readReport(folder: string, name: string): Promise<Report | null> {
  const text = await readFile(join(folder, `${name}.json`), "utf8").catch(() => null);
  return text === null ? null : (JSON.parse(text) as Report);
}
