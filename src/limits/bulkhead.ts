import { AppError } from "../errors.ts";

/*
 * Lets work of one key, such as a user's, run so many times at once, and of all keys together so many times. The rest
 * waits; keys are served in turns. So no user can take all connections of a pool.
 */

export interface BulkheadOptions {
  /** How much work of one key runs at once. */
  perKey: number;
  /** How much work of all keys runs at once; without it there is no such limit. */
  total?: number;
}

/** How much work of one key may wait. */
const MAX_WAITING = 100;
const RETRY_MS = 1000;

interface Job {
  name: string;
  start: () => void;
  done: Promise<unknown>;
}

export class Bulkhead {
  readonly #perKey: number;
  readonly #total: number;
  readonly #running = new Map<string, number>();
  /** Keys with work that waits, in the order of their turns. */
  readonly #waiting = new Map<string, Job[]>();
  #sum = 0;

  constructor({ perKey, total = Number.POSITIVE_INFINITY }: BulkheadOptions) {
    this.#perKey = perKey;
    this.#total = total;
  }

  /**
   * Runs the work as soon as it may run. Where the work that would run before it has the same name, both are one: `name`
   * says all that the work depends on.
   * @throws AppError `rate_limited` where too much work of the key waits
   */
  run<T>(key: string, name: string, work: () => Promise<T>): Promise<T> {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined && this.#mayRun(key)) return this.#start(key, work);
    const last = waiting?.at(-1);
    if (last?.name === name) return last.done as Promise<T>;
    if (waiting !== undefined && waiting.length >= MAX_WAITING) {
      const message = "Too many calls of this kind wait already; wait for their answers.";
      return Promise.reject(new AppError("rate_limited", message, { retryAfterMs: RETRY_MS }));
    }
    let start: () => void = () => undefined;
    const done = new Promise<T>((resolve) => {
      start = () => resolve(this.#start(key, work));
    });
    const job = { name, start, done };
    if (waiting === undefined) this.#waiting.set(key, [job]);
    else waiting.push(job);
    return done;
  }

  #mayRun(key: string): boolean {
    return this.#sum < this.#total && (this.#running.get(key) ?? 0) < this.#perKey;
  }

  async #start<T>(key: string, work: () => Promise<T>): Promise<T> {
    this.#count(key, 1);
    try {
      return await work();
    } finally {
      this.#count(key, -1);
      this.#startWaiting();
    }
  }

  #count(key: string, change: 1 | -1): void {
    this.#sum += change;
    const running = (this.#running.get(key) ?? 0) + change;
    if (running > 0) this.#running.set(key, running);
    else this.#running.delete(key);
  }

  /** Starts the first work that may run. A key whose turn it was waits behind the others. */
  #startWaiting(): void {
    if (this.#sum >= this.#total) return;
    for (const [key, jobs] of this.#waiting) {
      if (!this.#mayRun(key)) continue;
      const job = jobs.shift() as Job;
      this.#waiting.delete(key);
      if (jobs.length > 0) this.#waiting.set(key, jobs);
      job.start();
      return;
    }
  }
}
