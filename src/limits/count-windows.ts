/**
 * Counts by key, each key in a window that begins with its first count. By the monotonic clock, and in this process alone:
 * n processes allow n times as much.
 */
export class CountWindows {
  readonly #most: number;
  readonly #windowMs: number;
  /** The oldest first. */
  readonly #windows = new Map<string, { count: number; endsAt: number }>();

  constructor({ most, windowMs }: { most: number; windowMs: number }) {
    this.#most = most;
    this.#windowMs = windowMs;
  }

  /** Counts one more, or `cost` more. @returns 0, or in how many ms the window ends where the key has more than `most` */
  count(key: string, cost = 1): number {
    const now = performance.now();
    this.#forgetEnded(now);
    const window = this.#windows.get(key) ?? { count: 0, endsAt: now + this.#windowMs };
    this.#windows.set(key, window);
    window.count += cost;
    return window.count > this.#most ? Math.max(1, Math.ceil(window.endsAt - now)) : 0;
  }

  /** Takes one count back. */
  takeBack(key: string): void {
    const window = this.#windows.get(key);
    if (window !== undefined) window.count -= 1;
  }

  forget(key: string): void {
    this.#windows.delete(key);
  }

  /** All windows are equally long: the oldest end first. */
  #forgetEnded(now: number): void {
    for (const [key, { endsAt }] of this.#windows) {
      if (endsAt > now) break;
      this.#windows.delete(key);
    }
  }
}
