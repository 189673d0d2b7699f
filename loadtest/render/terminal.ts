import type { Aim, Section, Table } from "../harness/section.ts";
import { formatCell, formatNumber, isNumericColumn } from "./format.ts";

/** What a subcommand measured, as text for a terminal: tables, aims, notes. */
export function renderForTerminal(section: Section): string {
  const parts = [underline(section.title)];
  for (const table of section.tables) parts.push(`${table.title}\n\n${renderColumns(table)}`);
  if (section.aims.length > 0) parts.push(renderAimLines(section.aims));
  const notes = [...section.notes];
  if (section.foreignCores !== null) {
    notes.push(`Other processes took ${formatNumber(section.foreignCores)} cores meanwhile.`);
  }
  if (notes.length > 0) parts.push(notes.map((note) => `- ${note}`).join("\n"));
  return `\n${parts.join("\n\n")}\n`;
}

/** An aim a line; where one is missed, what holds it back under it. */
export function renderAimLines(aims: Aim[]): string {
  const table = renderColumns({
    title: "",
    columns: ["aim", "", "seen", "met"],
    rows: aims.map((aim) => [aim.what, aim.aim, aim.seen, aim.isMet ? "yes" : "NO"]),
  });
  const reasons = aims.flatMap((aim) => (aim.because === undefined ? [] : [`  ${aim.what}: ${aim.because}`]));
  return [table, ...reasons].join("\n");
}

export function renderColumns({ columns, rows }: Table): string {
  const cells = [columns, ...rows.map((row) => columns.map((_, i) => formatCell(row[i])))];
  const widths = columns.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const isNumeric = columns.map((_, i) => isNumericColumn(rows.map((row) => row[i])));
  const line = (row: string[]) =>
    row
      .map((cell, i) => (isNumeric[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd();
  const [headings = [], ...body] = cells;
  return [line(headings), widths.map((width) => "-".repeat(width)).join("  "), ...body.map(line)].join("\n");
}

function underline(title: string): string {
  return `${title}\n${"=".repeat(title.length)}`;
}
