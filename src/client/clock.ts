/** The longest age the server takes: 30 days. */
const MAX_AGE_MS = 30 * 24 * 3600 * 1000;

/** Time as the SDK sees it; tests bring their own. */
export interface Clock {
  /** Milliseconds that only grow, from an arbitrary start. */
  monotonicMs(): number;
  /** Milliseconds since 1970, as the device believes. */
  wallMs(): number;
  /** Runs once after `ms`; the answer cancels it. */
  after(ms: number, run: () => void): () => void;
}

/** One instant, on both clocks. */
export interface Moment {
  monotonicMs: number;
  wallMs: number;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

export function toMoment(clock: Clock): Moment {
  return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
}

/** The instant `ageMs` ago. */
export function toMomentAgo(clock: Clock, ageMs: number): Moment {
  return { monotonicMs: clock.monotonicMs() - ageMs, wallMs: clock.wallMs() - ageMs };
}

/**
 * How long ago it was, 0 to 30 days. The larger of the two clocks' answers: the monotonic one stands still while
 * a laptop sleeps, and a position from before the sleep must not pass for a fresh one. A wall clock that is set
 * forward in between makes a position look older than it is, and so at worst lose to another device's.
 */
export function toAgeMs(clock: Clock, moment: Moment): number {
  const monotonic = clock.monotonicMs() - moment.monotonicMs;
  const wall = clock.wallMs() - moment.wallMs;
  return Math.round(Math.min(MAX_AGE_MS, Math.max(0, monotonic, wall)));
}
