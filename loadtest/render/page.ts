import type { Environment } from "../harness/environment.ts";
import type { Section } from "../harness/section.ts";
import { formatTime, renderAims, renderSection, renderTable } from "./markdown.ts";

/** What one subcommand left behind: `<command>.json`. */
export interface Report {
  environment: Environment;
  isQuick: boolean;
  section: Section;
}

/** The page of all subcommands, in the order given. */
export function renderPage(reports: Report[]): string {
  const newest = [...reports].sort((a, b) => (a.section.takenAt < b.section.takenAt ? 1 : -1))[0];
  if (newest === undefined) return "# Load test\n\nNothing was measured yet: `npm run loadtest`.\n";
  const aims = reports.flatMap(({ section }) => section.aims);
  const met = aims.filter((aim) => aim.isMet).length;
  return [
    "# Load test",
    "Written by `npm run loadtest`; what is compared, and how, is in [../README.md](../README.md). Server, peers, PostgreSQL and\nthe load generators share the cores of one machine: ratios within a run hold elsewhere, figures do not.",
    renderEnvironment(newest),
    "## Aims",
    aims.length === 0 ? "None." : `${met} of ${aims.length} met.\n\n${renderAims(aims)}`,
    ...reports.map((report) => renderSection(report.section, describeDifference(report, newest))),
  ]
    .join("\n\n")
    .replace(/\n{3,}/g, "\n\n")
    .trimEnd()
    .concat("\n");
}

function renderEnvironment({ environment, section }: Report): string {
  const { cores, cpu, memoryGb, os, versions } = environment;
  return renderTable({
    title: "",
    columns: ["", ""],
    rows: [
      ["machine", `${cores} cores (${cpu}), ${memoryGb} GB`],
      ["system", os],
      ["versions", renderVersions(versions)],
      ["date", formatTime(section.takenAt)],
      ["Playhead", renderCommit(environment)],
    ],
  });
}

function renderVersions(versions: Environment["versions"]): string {
  return Object.entries(versions)
    .map(([name, version]) => `${name} ${version ?? "not installed"}`)
    .join(", ");
}

function renderCommit({ commit, isModified }: Environment): string {
  if (commit === null) return "no commit known";
  return `${commit}${isModified === true ? ", with uncommitted changes" : ""}`;
}

/** Sections may be older than the newest, or from elsewhere: they say so. */
function describeDifference({ environment, isQuick }: Report, newest: Report): string | null {
  const parts: string[] = [];
  if (isQuick) parts.push("a quick run: rough figures");
  const other = newest.environment;
  if (renderCommit(environment) !== renderCommit(other))
    parts.push(`measured on Playhead ${renderCommit(environment)}`);
  const machine = ({ cores, cpu, memoryGb, os }: Environment) => `${cores} cores (${cpu}), ${memoryGb} GB, ${os}`;
  if (machine(environment) !== machine(other)) parts.push(`on ${machine(environment)}`);
  if (renderVersions(environment.versions) !== renderVersions(other.versions)) {
    parts.push(`with ${renderVersions(environment.versions)}`);
  }
  return parts.length === 0 ? null : `This section: ${parts.join("; ")}.`;
}
