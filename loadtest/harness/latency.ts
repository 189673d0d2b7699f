import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram } from "hdr-histogram-js";

/** Latencies of one process, in whole microseconds, as they are handed to another. */
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

export interface LatencySummary {
  count: number;
  p50Ms: number;
  p90Ms: number;
  p99Ms: number;
  p999Ms: number;
  maxMs: number;
}

/** Merges what several processes saw. */
export function summarize(encoded: string[]): LatencySummary {
  const [first, ...rest] = encoded.map((text) => decodeFromCompressedBase64(text, 64, false));
  if (first === undefined) return { count: 0, p50Ms: 0, p90Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 };
  for (const histogram of rest) first.add(histogram);
  return {
    count: first.totalCount,
    p50Ms: first.getValueAtPercentile(50) / 1000,
    p90Ms: first.getValueAtPercentile(90) / 1000,
    p99Ms: first.getValueAtPercentile(99) / 1000,
    p999Ms: first.getValueAtPercentile(99.9) / 1000,
    maxMs: first.maxValue / 1000,
  };
}
