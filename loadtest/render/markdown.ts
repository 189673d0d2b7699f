import type { Aim, Section, Table } from "../harness/section.ts";
import { formatCell, formatNumber, isNumericColumn } from "./format.ts";

/** Writes a section for the page. Plots are files beside it. `remark` tells how its run differs from the newest one. */
export function renderSection(section: Section, remark: string | null = null): string {
  const heading = `*\`npm run loadtest -- ${section.command}\`, ${formatTime(section.takenAt)}; ${renderForeign(section)}.${remark === null ? "" : ` ${remark}`}*`;
  const pictures = section.plots.map(({ title, name }) => `![${title}](${name}.svg)`);
  return join([
    `## ${section.title}`,
    heading,
    section.about.trim(),
    ...renderTables(section),
    ...pictures,
    renderNotes(section),
  ]);
}

/** Writes a section for a terminal: tables, aims, notes. */
export function renderForTerminal(section: Section): string {
  const aims = section.aims.length === 0 ? "" : renderAims(section.aims);
  const title = `\n## ${section.title}: ${renderForeign(section)}`;
  return join([title, ...renderTables(section), aims, renderNotes(section)]);
}

function renderTables({ tables }: Section): string[] {
  return tables.map((table) => `### ${table.title}\n\n${renderTable(table)}`);
}

function renderNotes({ notes }: Section): string {
  return notes.map((note) => `- ${oneLine(note)}`).join("\n");
}

function renderForeign({ foreignCores }: Section): string {
  return foreignCores === null
    ? "how busy the machine was otherwise is not known"
    : `other processes took ${formatNumber(foreignCores)} cores meanwhile`;
}

export function renderAims(aims: Aim[]): string {
  return renderTable({
    title: "",
    columns: ["what", "aim", "seen", "met", "what holds it back"],
    rows: aims.map((aim) => [aim.what, aim.aim, aim.seen, aim.isMet ? "yes" : "**no**", aim.because ?? ""]),
  });
}

/** Sets columns of figures to the right. The last column is not padded, because its texts can be long. */
export function renderTable({ columns, rows }: Table): string {
  const cells = [columns, ...rows.map((row) => columns.map((_, i) => formatCell(row[i])))].map((row) =>
    row.map(escapeCell),
  );
  const isNumeric = columns.map((_, i) => isNumericColumn(rows.map((row) => row[i])));
  const isLoose = (i: number) => i === columns.length - 1 && !isNumeric[i];
  const widths = columns.map((_, i) => (isLoose(i) ? 3 : Math.max(3, ...cells.map((row) => row[i]?.length ?? 0))));
  const pad = (cell: string, i: number) => (isNumeric[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0));
  const line = (row: string[]) => `| ${row.map(pad).join(" | ")} |`;
  const rule = widths.map((width, i) => `-${"-".repeat(width)}${isNumeric[i] ? ":" : "-"}`).join("|");
  const [headings = [], ...body] = cells;
  return [line(headings), `|${rule}|`, ...body.map(line)].join("\n");
}

/** `2026-11-21 19:30 UTC`. */
export function formatTime(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;
}

function join(parts: string[]): string {
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function escapeCell(text: string): string {
  return oneLine(text).replaceAll("|", "\\|");
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, " ");
}
