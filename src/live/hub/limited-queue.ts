/** Work that waits its turn, so that only a few items are worked on at a time. */
export class LimitedQueue<T> {
  readonly #atOnce: number;
  readonly #work: (item: T) => Promise<void>;
  readonly #waiting: { item: T; done: () => void }[] = [];
  #running = 0;

  /** `work` must not reject. */
  constructor(atOnce: number, work: (item: T) => Promise<void>) {
    this.#atOnce = atOnce;
    this.#work = work;
  }

  /** @returns a promise that resolves when the item was worked on */
  add(item: T): Promise<void> {
    return new Promise((done) => {
      this.#waiting.push({ item, done });
      if (this.#running < this.#atOnce) void this.#run(); // never rejects
    });
  }

  async #run(): Promise<void> {
    this.#running += 1;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await this.#work(next.item);
      next.done();
    }
    this.#running -= 1;
  }
}
