import type { Cell } from "../harness/section.ts";

/** Three significant digits below 100, whole numbers above. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) || size >= 99.95) return Math.round(value).toLocaleString("en-US");
  if (size < 0.001) return value.toPrecision(2);
  const digits = size >= 9.995 ? 1 : size >= 0.995 ? 2 : 3;
  return value.toFixed(digits);
}

export function formatCell(cell: Cell | undefined): string {
  if (cell === null || cell === undefined) return "";
  return typeof cell === "number" ? formatNumber(cell) : cell;
}

/** Writes a tick of an axis: 20k, 1.5M. */
export function formatTick(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return `${trim(value / 1e6)}M`;
  if (size >= 1e4) return `${trim(value / 1e3)}k`;
  return size >= 1 ? value.toLocaleString("en-US") : trim(value);
}

function trim(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** Whether a column has figures, and so is set to the right. */
export function isNumericColumn(cells: (Cell | undefined)[]): boolean {
  const filled = cells.filter((cell) => cell !== null && cell !== undefined && cell !== "");
  return (
    filled.length > 0 && filled.every((cell) => typeof cell === "number" || /^[\d.,×%<≤>≥±+ –-]+$/.test(cell ?? ""))
  );
}
