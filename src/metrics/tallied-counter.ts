import { Counter, type CounterConfiguration, type LabelValues } from "prom-client";

/** Counts one series: one combination of labels. */
export interface Tally {
  inc(): void;
}

/**
 * A counter for calls as frequent as heartbeats. A tally is a plain number until `/metrics` is read, because prom-client
 * hashes the labels at every count.
 */
export class TalliedCounter<T extends string> extends Counter<T> {
  readonly #tallies: { labels: LabelValues<T>; count: number }[] = [];

  constructor(configuration: Omit<CounterConfiguration<T>, "collect">) {
    super({
      ...configuration,
      collect() {
        (this as TalliedCounter<T>).#settle();
      },
    });
  }

  tally(labels: LabelValues<T>): Tally {
    const tally = { labels, count: 0 };
    this.#tallies.push(tally);
    return {
      inc() {
        tally.count += 1;
      },
    };
  }

  #settle(): void {
    for (const tally of this.#tallies) {
      if (tally.count > 0) this.inc(tally.labels, tally.count);
      tally.count = 0;
    }
  }
}
