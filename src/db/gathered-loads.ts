/*
 * Reads by id, with one query at a time. Ids that are asked for while a query runs go together into the next query. So
 * the database gets a few queries, not thousands, when all clients of a process reconnect at once.
 */

export class GatheredLoads<T> {
  readonly #load: (ids: string[]) => Promise<T>;
  #wanted = new Set<string>();
  #next: Promise<T> | null = null;
  #running: Promise<unknown> = Promise.resolve();

  constructor(load: (ids: string[]) => Promise<T>) {
    this.#load = load;
  }

  /** Returns the result of the next query, which reads this id and all others that wait for it. */
  load(id: string): Promise<T> {
    this.#wanted.add(id);
    this.#next ??= this.#running.then(() => this.#run());
    return this.#next;
  }

  #run(): Promise<T> {
    const ids = [...this.#wanted];
    this.#wanted = new Set();
    this.#next = null;
    const loaded = this.#load(ids);
    // The callers of `load` get the error. The next query runs all the same.
    this.#running = loaded.catch(() => undefined);
    return loaded;
  }
}
