import { GatheredLoads } from "../db/gathered-loads.ts";

/*
 * Facts by id, read when they are first asked for. An id without facts is remembered for MISS_TTL_MS, so that a client
 * which asks again and again for ids that do not exist does not reach the database each time.
 */

const MAX_ENTRIES = 100_000;
const MISS_TTL_MS = 5000;
/** For so long what was read is taken for what the database holds. */
const FRESH_MS = 1000;

interface Entry<T> {
  /** Null for an id without facts. */
  facts: T | null;
  /** When an entry without facts ends, by the process's monotonic clock. */
  until: number;
}

export class FactCache<T> {
  readonly #read: (ids: string[]) => Promise<Map<string, T>>;
  readonly #loads = new GatheredLoads((ids) => this.keep(ids, () => this.#read(ids)));
  readonly #entries = new Map<string, Entry<T>>();
  /** Counts calls of `forget`: facts whose reading began before such a call are not kept after it. */
  #forgotten = 0;

  constructor(read: (ids: string[]) => Promise<Map<string, T>>) {
    this.#read = read;
  }

  /** The cached facts; null for an id that has none, undefined for an id that must be read first. */
  peek(id: string): T | null | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    return entry.facts === null && entry.until < performance.now() ? undefined : entry.facts;
  }

  /** For how many ms an id still counts as one without facts, though it may have some by now. 0 where it was just read. */
  missLeftMs(id: string): number {
    const entry = this.#entries.get(id);
    if (entry?.facts !== null) return 0;
    const leftMs = entry.until - performance.now();
    return MISS_TTL_MS - leftMs < FRESH_MS ? 0 : Math.max(1, leftMs);
  }

  /** Whether nothing is kept. */
  get isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  /** Reads the facts, together with those of other ids that are asked for meanwhile. */
  async load(id: string): Promise<T | null> {
    return (await this.#loads.load(id)).get(id) ?? null;
  }

  /** Reads the ids by `read`, and keeps the facts unless `forget` was called meanwhile. */
  async keep(ids: readonly string[], read: () => Promise<Map<string, T>>): Promise<Map<string, T>> {
    const forgotten = this.#forgotten;
    const found = await read();
    if (forgotten !== this.#forgotten) return found;
    if (this.#entries.size + ids.length > MAX_ENTRIES) this.#entries.clear();
    const until = performance.now() + MISS_TTL_MS;
    for (const id of ids) this.#entries.set(id, { facts: found.get(id) ?? null, until });
    return found;
  }

  /** Forgets the facts that match, and every id without facts. */
  forget(matches: (facts: T) => boolean): void {
    this.#forgotten += 1;
    for (const [id, { facts }] of this.#entries) {
      if (facts === null || matches(facts)) this.#entries.delete(id);
    }
  }
}
