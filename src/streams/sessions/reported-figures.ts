import type { StreamFigures } from "../../protocol/stream.ts";

/** One report of a media server, or several reports merged into one. */
export interface ReportedFigures extends StreamFigures {
  peakViewers?: number;
  /** Sum of the reported bitrates in kbit/s, and how many reports had one. */
  bitrateSum?: number;
  bitrateReports?: number;
}

/** Merges a later report into an earlier one: the newest figures, the higher peak, and sums for the mean. */
export function mergeFigures(
  before: ReportedFigures | null,
  { bitrateKbps, viewers, mediaTimeMs, ...rest }: ReportedFigures,
): ReportedFigures {
  const merged: ReportedFigures = { ...before };
  if (mediaTimeMs !== undefined) merged.mediaTimeMs = mediaTimeMs;
  if (viewers !== undefined) {
    merged.viewers = viewers;
    merged.peakViewers = Math.max(before?.peakViewers ?? 0, rest.peakViewers ?? viewers);
  }
  if (bitrateKbps !== undefined) {
    merged.bitrateKbps = bitrateKbps;
    merged.bitrateSum = (before?.bitrateSum ?? 0) + (rest.bitrateSum ?? bitrateKbps);
    merged.bitrateReports = (before?.bitrateReports ?? 0) + (rest.bitrateReports ?? 1);
  }
  return merged;
}
