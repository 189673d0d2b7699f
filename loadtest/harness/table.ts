import type { Cell, Plot, Table } from "./section.ts";
import { type LatencySummary, PERCENTILES } from "./statistics.ts";
import type { Readings } from "./window.ts";

/*
 * Tables and plots from figures. A column is described once, as data: its heading, and how its cell is read from a row.
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

/** A column a percentile; empty where nobody waited for an answer. */
export function latencyColumns<Row>(of: (row: Row) => LatencySummary | null): Column<Row>[] {
  return NAMES.map((name) => [`${name} ms`, (row) => of(row)?.[name] ?? null]);
}

/** What an operation took of counters, each named by the first word of its heading: "server µs". */
export function eachColumns(...headings: string[]): Column<{ each: Readings }>[] {
  return headings.map((heading) => [heading, ({ each }) => each[heading.split(" ")[0] as string] ?? null]);
}

type Point<Y> = readonly [x: number, y: Y | null];

/** A line through one point a row; rows without a figure are left out. */
export function toLine<Row>(label: string, rows: readonly Row[], toPoint: (row: Row) => Point<number>) {
  const points = rows.map(toPoint).flatMap(([x, y]): [number, number][] => (y === null ? [] : [[x, y]]));
  return { label, points };
}

/** A line a percentile. */
export function latencyLines<Row>(rows: readonly Row[], toPoint: (row: Row) => Point<LatencySummary>): Plot["series"] {
  const points = rows.map(toPoint);
  return NAMES.map((name) => toLine(name, points, ([x, latency]) => [x, latency?.[name] ?? null]));
}

/** A ratio, as "1.93 ×": two digits where it is small. Empty where one of the two is not known. */
export function times(ratio: number | null): string {
  return ratio === null || !Number.isFinite(ratio) ? "" : `${ratio.toFixed(ratio < 10 ? 2 : 1)} ×`;
}

/** Null where one of the two is not known. */
export function ratioOf(a: number | null | undefined, b: number | null | undefined): number | null {
  return a == null || b == null ? null : a / b;
}

/** 17,310 */
export function whole(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
