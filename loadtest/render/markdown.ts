import type { Aim, Section, Table } from "../harness/section.ts";
import { formatCell, formatNumber, isNumericColumn } from "./format.ts";

/** A section as a part of the page; plots are pictures beside it. `remark`: what sets it apart from the others. */
export function renderSection(section: Section, remark: string | null = null): string {
  const foreign =
    section.foreignCores === null
      ? "how busy the machine was otherwise is not known"
      : `other processes took ${formatNumber(section.foreignCores)} cores meanwhile`;
  const parts = [
    `## ${section.title}`,
    `*\`npm run loadtest -- ${section.command}\`, ${formatTime(section.takenAt)}; ${foreign}.${remark === null ? "" : ` ${remark}`}*`,
    section.about.trim(),
    ...section.tables.map((table) => `### ${table.title}\n\n${renderTable(table)}`),
    ...section.plots.map((plot) => `![${plot.title}](${plot.name}.svg)`),
  ];
  if (section.notes.length > 0) parts.push(section.notes.map((note) => `- ${oneLine(note)}`).join("\n"));
  return `${parts.join("\n\n")}\n`;
}

/** The aims of all sections in one table. */
export function renderAims(aims: Aim[]): string {
  return renderTable({
    title: "",
    columns: ["what", "aim", "seen", "met", "what holds it back"],
    rows: aims.map((aim) => [aim.what, aim.aim, aim.seen, aim.isMet ? "yes" : "**no**", aim.because ?? ""]),
  });
}

export function renderTable({ columns, rows }: Table): string {
  const align = columns.map((_, i) => (isNumericColumn(rows.map((row) => row[i])) ? "--:" : "---"));
  const line = (cells: string[]) => `| ${cells.map(escapeCell).join(" | ")} |`;
  return [
    line(columns),
    `|${align.join("|")}|`,
    ...rows.map((row) => line(columns.map((_, i) => formatCell(row[i])))),
  ].join("\n");
}

/** `2026-11-21 19:30 UTC`. */
export function formatTime(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;
}

function escapeCell(text: string): string {
  return oneLine(text).replaceAll("|", "\\|");
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, " ");
}
