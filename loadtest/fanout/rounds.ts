import { Latencies } from "../harness/latency.ts";

/*
 * Rounds: one update to every topic. Probes say which round they have seen; a later one stands for all before it,
 * as frames may be conflated.
 */
export class Rounds {
  readonly #dueAt = new Map<number, number>();
  readonly #seenBy = new Map<number, number>();
  #probes = 0;
  #latencies: Latencies | null = null;
  #onChange: () => void = () => undefined;
  /** The last that was begun, that some probe has seen, and that all have. */
  begun = 0;
  first = 0;
  complete = 0;

  /** A probe that has seen all up to now. */
  addProbe(): { onRound(round: number): void } {
    this.#probes += 1;
    let seen = this.begun;
    return {
      onRound: (round) => {
        const now = performance.now();
        for (; seen < round; seen++) this.#count(seen + 1, now);
      },
    };
  }

  /** @returns the number of a round that was due at that time */
  begin(dueAt: number): number {
    this.begun += 1;
    this.#dueAt.set(this.begun, dueAt);
    return this.begun;
  }

  /** Latencies of the rounds that begin from now on. */
  collect(): Latencies {
    this.#latencies = new Latencies();
    return this.#latencies;
  }

  /** Resolves at the next news of a probe, or after a while without any. */
  changed(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#onChange = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #count(round: number, now: number): void {
    const dueAt = this.#dueAt.get(round);
    if (dueAt === undefined) return;
    this.#latencies?.add(now - dueAt);
    const seenBy = (this.#seenBy.get(round) ?? 0) + 1;
    this.#seenBy.set(round, seenBy);
    if (round > this.first) {
      this.first = round;
      this.#onChange();
    }
    if (seenBy < this.#probes) return;
    this.#seenBy.delete(round);
    this.#dueAt.delete(round);
    this.complete = Math.max(this.complete, round);
    this.#onChange();
  }
}
