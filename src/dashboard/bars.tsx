import { toClock, toPercent } from "./format.ts";

/** A progress bar. */
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
  /** Seconds. Without it the bar stays empty. */
  duration: number | null;
  /** The position of the playhead in seconds. */
  position?: number | undefined;
}

/** The watched parts of a file, and the position of its playhead. */
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
