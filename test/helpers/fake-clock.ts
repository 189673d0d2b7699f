import type { Clock } from "../../src/client/clock.ts";

/** A clock that stands still until the test moves it. */
export interface FakeClock extends Clock {
  /** Moves both clocks, and runs the timers that fall due meanwhile. */
  advance(ms: number): void;
  /** Moves only the wall clock, as when somebody sets it or the device slept. */
  setWall(ms: number): void;
}

export function createFakeClock(startMs = 1_000_000): FakeClock {
  let monotonic = 0;
  let wall = startMs;
  let timers: { atMs: number; run: () => void }[] = [];
  return {
    monotonicMs: () => monotonic,
    wallMs: () => wall,
    after(ms, run) {
      const timer = { atMs: monotonic + ms, run };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      const until = monotonic + ms;
      for (;;) {
        const [next] = timers.filter((timer) => timer.atMs <= until).sort((a, b) => a.atMs - b.atMs);
        if (!next) break;
        wall += Math.max(0, next.atMs - monotonic);
        monotonic = Math.max(monotonic, next.atMs);
        timers = timers.filter((other) => other !== next);
        next.run();
      }
      wall += until - monotonic;
      monotonic = until;
    },
    setWall(ms) {
      wall = ms;
    },
  };
}
