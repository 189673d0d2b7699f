import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram } from "hdr-histogram-js";

/** How often each thing happened, by its name. */
export type Counts = Record<string, number>;

export function tally(counts: Counts, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

export function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** NaN without values. */
export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? Number.NaN) + upper) / 2 : upper;
}

export function mergeCounts(counts: readonly Counts[]): Counts {
  const merged: Counts = {};
  for (const [name, count] of counts.flatMap((one) => Object.entries(one))) merged[name] = (merged[name] ?? 0) + count;
  return merged;
}

/** "12,000 valid, 3 no answer" */
export function listCounts(counts: Counts): string {
  return Object.entries(counts)
    .map(([name, count]) => `${count.toLocaleString("en-US")} ${name}`)
    .join(", ");
}

/** The latencies of one process, in whole microseconds. `encode` makes a text for another process. */
export class Latencies {
  readonly #histogram: Histogram = build({
    highestTrackableValue: 120_000_000,
    numberOfSignificantValueDigits: 3,
    useWebAssembly: false,
  });

  add(ms: number): void {
    this.#histogram.recordValue(Math.max(1, Math.round(ms * 1000)));
  }

  encode(): string {
    return encodeIntoCompressedBase64(this.#histogram);
  }
}

export const PERCENTILES = { p50: 50, p90: 90, p99: 99, "p99.9": 99.9, max: 100 } as const;

/** Percentiles in ms, and the number of latencies. */
export type LatencySummary = Record<keyof typeof PERCENTILES | "count", number>;

/** Merges the latencies of several processes or windows; null without any. */
export function summarizeLatencies(encoded: readonly string[]): LatencySummary | null {
  const [first, ...rest] = encoded.map((text) => decodeFromCompressedBase64(text, 64, false));
  for (const histogram of rest) first?.add(histogram);
  if (first === undefined || first.totalCount === 0) return null;
  const values = Object.entries(PERCENTILES).map(([name, share]) => [name, first.getValueAtPercentile(share) / 1000]);
  return { ...Object.fromEntries(values), count: first.totalCount };
}
