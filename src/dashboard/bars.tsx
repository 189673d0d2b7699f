import { toClock, toPercent } from "./format.ts";

/** How much of something is done. */
export function PercentageBar({ percentage, label }: { percentage: number; label: string }) {
  return (
    <div
      class={percentage >= 100 ? "bar done" : "bar"}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.floor(percentage)}
      aria-valuetext={toPercent(percentage)}
    >
      <span style={{ width: `${Math.min(100, percentage)}%` }} />
    </div>
  );
}

interface WatchedBarProps {
  watched: readonly (readonly [from: number, to: number])[];
  /** Seconds; the bar stays empty while it is not known. */
  duration: number | null;
  /** Where the playhead is, in seconds. */
  position?: number | undefined;
}

/** Which parts of a file were watched, and where its playhead stands. */
export function WatchedBar({ watched, duration, position }: WatchedBarProps) {
  const toShare = (seconds: number) => `${Math.min(100, (seconds / (duration || 1)) * 100)}%`;
  const parts = watched.map(([from, to]) => `${toClock(from)} to ${toClock(to)}`);
  const label = parts.length === 0 ? "Nothing watched yet" : `Watched: ${parts.join(", ")}`;
  return (
    <div class="watched-bar" role="img" aria-label={label}>
      {duration !== null &&
        watched.map(([from, to]) => (
          <span key={from} class="part" style={{ left: toShare(from), width: toShare(to - from) }} />
        ))}
      {duration !== null && position !== undefined && <span class="playhead" style={{ left: toShare(position) }} />}
    </div>
  );
}
