import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Environment } from "../harness/environment.ts";
import type { Section } from "../harness/section.ts";
import { formatTime, renderAims, renderSection, renderTable } from "./markdown.ts";
import { renderPlot } from "./plot.ts";

/** The content of `<command>.json`. */
export interface Report {
  environment: Environment;
  isQuick: boolean;
  section: Section;
}

/** Replaces one section of a report folder: its JSON, its plots, and the page, which shows all JSON files of the folder. */
export async function writeReport(folder: string, report: Report, order: readonly string[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { command, plots } = report.section;
  const pictureOf = (name: string) => join(folder, `${name}.svg`);
  const before = await readReport(folder, command);
  for (const { name } of before?.section.plots ?? []) await rm(pictureOf(name), { force: true });
  for (const plot of plots) await writeFile(pictureOf(plot.name), renderPlot(plot));
  await writeFile(join(folder, `${command}.json`), `${JSON.stringify(report, null, 2)}\n`);
  const reports = await Promise.all(order.map((name) => readReport(folder, name)));
  await writeFile(join(folder, "index.md"), renderPage(reports.filter((one) => one !== null)));
}

async function readReport(folder: string, name: string): Promise<Report | null> {
  const text = await readFile(join(folder, `${name}.json`), "utf8").catch(() => null);
  return text === null ? null : (JSON.parse(text) as Report);
}

/** Writes the page, with the sections in this order. */
export function renderPage(reports: Report[]): string {
  const newest = reports.toSorted((a, b) => (a.section.takenAt < b.section.takenAt ? 1 : -1))[0];
  if (newest === undefined) return "# Load test\n\nNothing was measured yet: `npm run loadtest`.\n";
  const aims = reports.flatMap(({ section }) => section.aims);
  const met = aims.filter((aim) => aim.isMet).length;
  const { environment, section } = newest;
  const { machine, system, versions, commit } = describe(environment);
  return [
    "# Load test",
    "Written by `npm run loadtest`; [../README.md](../README.md) says what is compared, and how. Server, contenders, PostgreSQL\nand the load share the cores of one machine: ratios within a run hold elsewhere, figures do not.",
    renderTable({
      title: "",
      columns: ["", ""],
      rows: [
        ["machine", machine],
        ["system", system],
        ["versions", versions],
        ["date", formatTime(section.takenAt)],
        ["Playhead", commit],
      ],
    }),
    `## Aims\n\n${aims.length === 0 ? "None." : `${met} of ${aims.length} met.\n\n${renderAims(aims)}`}`,
    ...reports.map((report) => renderSection(report.section, describeDifference(report, newest))),
  ]
    .map((part) => part.trim())
    .join("\n\n")
    .concat("\n");
}

function describe({ cores, cpu, memoryGb, os, versions, commit, isModified }: Environment) {
  const installed = Object.entries(versions).map(([name, version]) => `${name} ${version ?? "not installed"}`);
  return {
    machine: `${cores} cores (${cpu}), ${memoryGb} GB`,
    system: os,
    versions: installed.join(", "),
    commit: commit === null ? "no commit known" : `${commit}${isModified ? ", with uncommitted changes" : ""}`,
  };
}

/** Tells how a section differs from the newest one: in commit, machine or versions. */
function describeDifference({ environment, isQuick }: Report, newest: Report): string | null {
  const [own, other] = [describe(environment), describe(newest.environment)];
  const place = ({ machine, system }: typeof own) => `${machine}, ${system}`;
  const differences = [
    isQuick ? "a quick run: rough figures" : "",
    own.commit === other.commit ? "" : `measured on Playhead ${own.commit}`,
    place(own) === place(other) ? "" : `on ${place(own)}`,
    own.versions === other.versions ? "" : `with ${own.versions}`,
  ].filter((difference) => difference !== "");
  return differences.length === 0 ? null : `This section: ${differences.join("; ")}.`;
}
