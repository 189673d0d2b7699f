import type { Cell, Plot, Table } from "./section.ts";
import { type LatencySummary, PERCENTILES } from "./statistics.ts";
import type { Readings } from "./window.ts";

/*
 * Makes tables and plots from figures. A column is data: its heading, and a function from a row to its cell.
 */

export type Column<Row> = readonly [heading: string, cell: (row: Row) => Cell];

export function toTable<Row>(title: string, rows: readonly Row[], columns: readonly Column<Row>[]): Table {
  return {
    title,
    columns: columns.map(([heading]) => heading),
    rows: rows.map((row) => columns.map(([, cell]) => cell(row))),
  };
}

const NAMES = Object.keys(PERCENTILES) as (keyof typeof PERCENTILES)[];

/** One column for each percentile; empty cells if the load had no answers. */
export function latencyColumns<Row>(of: (row: Row) => LatencySummary | null): Column<Row>[] {
  return NAMES.map((name) => [`${name} ms`, (row) => of(row)?.[name] ?? null]);
}

/** How much an operation took of each counter. The first word of a heading names the counter: "server µs". */
export function eachColumns(...headings: string[]): Column<{ each: Readings }>[] {
  return headings.map((heading) => [heading, ({ each }) => each[heading.split(" ")[0] as string] ?? null]);
}

type Point<Y> = readonly [x: number, y: Y | null];

/** A line with one point for each row. Rows without a figure are left out. */
export function toLine<Row>(label: string, rows: readonly Row[], toPoint: (row: Row) => Point<number>) {
  const points = rows.map(toPoint).flatMap(([x, y]): [number, number][] => (y === null ? [] : [[x, y]]));
  return { label, points };
}

/** One line for each percentile. */
export function latencyLines<Row>(rows: readonly Row[], toPoint: (row: Row) => Point<LatencySummary>): Plot["series"] {
  const points = rows.map(toPoint);
  return NAMES.map((name) => toLine(name, points, ([x, latency]) => [x, latency?.[name] ?? null]));
}

/** Writes a ratio: "1.93 ×". Empty for null. */
export function times(ratio: number | null): string {
  return ratio === null || !Number.isFinite(ratio) ? "" : `${ratio.toFixed(ratio < 10 ? 2 : 1)} ×`;
}

/** Null if one of the two is unknown. */
export function ratioOf(a: number | null | undefined, b: number | null | undefined): number | null {
  return a == null || b == null ? null : a / b;
}

/** "17,310" */
export function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
