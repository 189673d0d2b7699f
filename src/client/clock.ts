/** The largest age that the server takes: 30 days. */
const MAX_AGE_MS = 30 * 24 * 3600 * 1000;

/** Where the SDK takes time and timers from. Tests pass a clock of their own. */
export interface Clock {
  /** Milliseconds that only grow, from an arbitrary start. */
  monotonicMs(): number;
  /** Milliseconds since 1970, as the device believes. */
  wallMs(): number;
  /** Runs the function once after `ms`. @returns cancels it */
  after(ms: number, run: () => void): () => void;
}

const FIRST_RETRY_MS = 700;
const LAST_RETRY_MS = 20_000;
/** A pause that the server asked for grows up to this. */
const LAST_ASKED_MS = 5000;

/**
 * The pause before the next attempt: at least as long as the server asks. It doubles with every failure before, and a
 * random share keeps clients apart that failed together.
 */
export function toBackoffMs(failures: number, askedMs?: number): number {
  const first = askedMs || FIRST_RETRY_MS;
  const last = askedMs ? Math.max(askedMs, LAST_ASKED_MS) : LAST_RETRY_MS;
  return Math.min(last, first * 2 ** failures) * (1 + Math.random() / 2);
}

/** One instant by both clocks. */
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

/** A clock whose timers end with the signal. */
export function endWith(signal: AbortSignal, clock: Clock): Clock {
  const running = new Set<() => void>();
  signal.addEventListener("abort", () => {
    for (const cancel of running) cancel();
  });
  return {
    ...clock,
    after(ms, run) {
      if (signal.aborted) return () => {};
      const cancel = clock.after(ms, () => {
        running.delete(cancel);
        run();
      });
      running.add(cancel);
      return () => {
        running.delete(cancel);
        cancel();
      };
    },
  };
}

/** The instant `agoMs` before now. */
export function toMoment(clock: Clock, agoMs = 0): Moment {
  return { monotonicMs: clock.monotonicMs() - agoMs, wallMs: clock.wallMs() - agoMs };
}

/**
 * How long ago the moment was, 0 to 30 days. The two clocks may disagree, and the larger age counts: the monotonic clock
 * stands still while a laptop sleeps, and a position from before the sleep must not look fresh. If somebody sets the
 * wall clock forward, the position looks too old; at worst it loses against the position of another device.
 */
export function toAgeMs(clock: Clock, moment: Moment): number {
  const monotonic = clock.monotonicMs() - moment.monotonicMs;
  const wall = clock.wallMs() - moment.wallMs;
  return Math.round(Math.min(MAX_AGE_MS, Math.max(0, monotonic, wall)));
}
