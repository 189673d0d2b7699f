import { type Range, toMs, unionOf } from "../protocol/ranges.ts";

/*
 * Finds out what really played, from samples of a media element's position. The part between two samples counts only if
 * the media was playing at the first one, no seek came in between, and the media moved no further than the elapsed time
 * allows. Samples may be as rare as a throttled background tab makes them.
 */

/** Reading the position is not exact to the frame: the media may have moved this much further than the clock says. */
const SLACK_MS = 250;

/** Where the media is, and how it goes on from here. */
export interface Sample {
  /** Seconds. */
  position: number;
  /** Monotonic milliseconds. */
  atMs: number;
  rate: number;
  /** Whether the media plays from here on: it is not paused, not seeking and not at its end. */
  advancing: boolean;
}

export interface PlayedTracker {
  sample(sample: Sample): void;
  /** A seek began: the part between the last sample and the next was not played. */
  cut(): void;
  /** Adds a range, in seconds, that the caller knows to be played. */
  add(from: number, to: number): void;
  /** The played ranges that were not taken yet. */
  peek(): Range[];
  /** Gives the same ranges, and forgets them. */
  take(): Range[];
}

export function createPlayedTracker(): PlayedTracker {
  let previous: Sample | null = null;
  let played: Range[] = [];

  function add(from: number, to: number): void {
    // Both ends are rounded the same way, so that ranges that touch in the media touch here.
    played = unionOf([...played, [toMs(Math.max(0, from)), toMs(to)]]);
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
