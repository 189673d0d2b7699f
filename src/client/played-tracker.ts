import { type Range, toMs, unionOf } from "../protocol/ranges.ts";

/*
 * Finds out what was really played, from samples of a media element's position. Two samples credit what lies
 * between them only if the media was playing at the first, no seek came in between, and it moved forward no
 * further than the elapsed time allows. Sampling may be as slow as a throttled background tab makes it.
 */

/** How much further than the clock says the media may have moved: reading the position is not exact to the frame. */
const SLACK_MS = 250;

/** Where the media is, and how it goes on from here. */
export interface Sample {
  /** Seconds. */
  position: number;
  /** Monotonic milliseconds. */
  atMs: number;
  rate: number;
  /** Whether it plays from here on: not paused, not seeking, not ended. */
  advancing: boolean;
}

export interface PlayedTracker {
  sample(sample: Sample): void;
  /** A seek began: what lies between the last sample and the next was not played. */
  cut(): void;
  /** Notes a range that another measure knows to be played, in seconds. */
  add(from: number, to: number): void;
  /** What was played and not yet taken. */
  peek(): Range[];
  /** The same, and forgets it. */
  take(): Range[];
}

export function createPlayedTracker(): PlayedTracker {
  let previous: Sample | null = null;
  let played: Range[] = [];

  function add(from: number, to: number): void {
    // Rounded alike at both ends, so that ranges that touch in the media touch here.
    const range: Range = [toMs(Math.max(0, from)), toMs(to)];
    if (range[1] > range[0]) played = unionOf([...played, range]);
  }

  return {
    sample(sample) {
      if (!Number.isFinite(sample.position)) return;
      if (previous?.advancing && isPlausible(previous, sample)) add(previous.position, sample.position);
      previous = sample;
    },
    cut() {
      previous = null;
    },
    add(from, to) {
      if (Number.isFinite(from) && Number.isFinite(to)) add(from, to);
    },
    peek: () => played,
    take() {
      const taken = played;
      played = [];
      return taken;
    },
  };
}

function isPlausible(before: Sample, after: Sample): boolean {
  const movedMs = (after.position - before.position) * 1000;
  const elapsedMs = after.atMs - before.atMs;
  return movedMs > 0 && movedMs <= elapsedMs * Math.max(before.rate, after.rate) + SLACK_MS;
}
