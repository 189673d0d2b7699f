/*
 * Reads by id, one query at a time: what is asked for while one runs goes together into the next. When all clients of
 * a node come back at once, each with a question of its own, the database gets a few queries and not thousands.
 */

export class GatheredLoads<T> {
  readonly #load: (ids: string[]) => Promise<T>;
  #wanted = new Set<string>();
  #next: Promise<T> | null = null;
  #running: Promise<unknown> = Promise.resolve();

  constructor(load: (ids: string[]) => Promise<T>) {
    this.#load = load;
  }

  /** What a query finds that starts from now on, and asks for this id and those asked for meanwhile. */
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
    // Whoever asked hears of a failure; the next query is tried all the same.
    this.#running = loaded.catch(() => undefined);
    return loaded;
  }
}
