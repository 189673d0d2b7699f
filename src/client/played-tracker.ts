import { lengthOf, type Range, toMs, unionOf } from "../protocol/ranges.ts";

/*
 * Finds out what really played, from samples of a media element's position. The part between two samples counts only if
 * the media was playing at the first one, no seek came in between, and the media moved no further than the elapsed time
 * allows. Samples may be as rare as a throttled background tab makes them.
 */

/** Reading the position is not exact to the frame: the media may have moved this much further than the clock says. */
const SLACK_MS = 250;
/** Media that is dragged while it plays goes on for a moment between two seeks. A shorter part than this is no watching. */
const SHORTEST_BETWEEN_SEEKS_MS = 500;
/** How long a media is believed to have played on after its last sample. Samples come more often than this. */
const MAX_UNSEEN_MS = 400;

/** Where the media is, and how it goes on from here. */
export interface Sample {
  /** Seconds. */
  position: number;
  /** Monotonic milliseconds. */
  atMs: number;
  /** 0 where the media is about to play, but does not move yet. */
  rate: number;
  /** Whether the media plays from here on: it is not paused and not at its end. */
  advancing: boolean;
}

export interface PlayedTracker {
  sample(sample: Sample): void;
  /**
   * A seek began, or the media is gone. The media played until then, and no part between the samples before and after
   * it was played.
   */
  cut(atMs: number): void;
  /** Adds a range, in seconds, that the caller knows to be played. */
  add(from: number, to: number): void;
  /** The played ranges that were not taken yet. */
  peek(): Range[];
  /**
   * Gives the played ranges, and forgets them.
   * @param isLast also gives the part since the last seek that is still too short to count if another seek follows
   */
  take(isLast?: boolean): Range[];
}

export function createPlayedTracker(): PlayedTracker {
  let previous: Sample | null = null;
  let played: Range[] = [];
  /** What played since a seek, while that is short. */
  let short: Range[] = [];
  let isAfterSeek = false;

  function credit(from: number, to: number): void {
    short = unionOf([...short, toRange(from, to)]);
    if (!isAfterSeek || lengthOf(short) >= SHORTEST_BETWEEN_SEEKS_MS) settle();
  }

  function settle(): void {
    played = unionOf([...played, ...short]);
    short = [];
    isAfterSeek = false;
  }

  return {
    sample(sample) {
      if (!Number.isFinite(sample.position)) return;
      if (previous?.advancing && isPlausible(previous, sample)) credit(previous.position, sample.position);
      // To play or to pause is no part of a drag.
      if (previous && previous.advancing !== sample.advancing) settle();
      previous = sample;
    },
    cut(atMs) {
      if (previous?.advancing) {
        const unseenMs = Math.min(MAX_UNSEEN_MS, atMs - previous.atMs) * previous.rate;
        credit(previous.position, previous.position + unseenMs / 1000);
      }
      previous = null;
      short = [];
      isAfterSeek = true;
    },
    add(from, to) {
      if (Number.isFinite(to - from)) played = unionOf([...played, toRange(from, to)]);
    },
    peek: () => unionOf([...played, ...short]),
    take(isLast = false) {
      if (isLast) settle();
      const taken = played;
      played = [];
      return taken;
    },
  };
}

/** Both ends are rounded the same way, so that ranges that touch in the media touch here. */
function toRange(from: number, to: number): Range {
  return [toMs(Math.max(0, from)), toMs(to)];
}

function isPlausible(before: Sample, after: Sample): boolean {
  const movedMs = (after.position - before.position) * 1000;
  const elapsedMs = after.atMs - before.atMs;
  return movedMs > 0 && movedMs <= elapsedMs * Math.max(before.rate, after.rate) + SLACK_MS;
}
