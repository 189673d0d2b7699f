import type { SessionPolicy, Stream } from "../../protocol/stream.ts";

/*
 * What this process knows of stream keys: the key's hash in hex → its stream. While the database is there, every claim
 * is decided by the database, and the cache only spares reading a stream again that has not changed. While the
 * database is away, the cache decides; a key that is not in it is refused.
 *
 * That a key belongs to no stream is not cached, so a key made a moment later is found at once.
 */

const MAX_KEYS = 50_000;

export interface KnownKey {
  stream: Stream;
  policy: SessionPolicy;
  /** Set for the key before a rotation: the end of its grace period. */
  goodUntil: Date | null;
}

/** A read of keys that is under way. Its results are cached unless a notification may be newer than they are. */
export interface KeyReading {
  /** @returns whether the result was cached */
  keep(hash: string, known: KnownKey): boolean;
  /** To be called once, also after a failed read. */
  end(): void;
}

export interface KeyCacheParts {
  /** Reads keys by hash in hex; keys of no stream are missing in the result. */
  readKeys(hashes: string[]): Promise<Map<string, KnownKey>>;
}

export class KeyCache {
  readonly #parts: KeyCacheParts;
  /** The key cached longest ago first. */
  readonly #known = new Map<string, KnownKey>();
  /** Stream id → hashes; a stream has at most two good keys. */
  readonly #hashesOf = new Map<string, Set<string>>();
  /** Hashes that `forgetStream` removed and `refreshForgotten` has not read again yet. */
  #forgotten = new Set<string>();
  /** Counts notifications. A read that began before a stream's last notification may not be cached for that stream. */
  #generation = 0;
  /** Stream id → generation of its last notification; kept only while reads are under way. */
  readonly #changedAt = new Map<string, number>();
  #allChangedAt = 0;
  #reads = 0;

  constructor(parts: KeyCacheParts) {
    this.#parts = parts;
  }

  /** What is cached for the key; asks nobody. */
  find(hash: string): KnownKey | undefined {
    return this.#known.get(hash);
  }

  /** To be called before keys are read from the database. */
  startReading(): KeyReading {
    const generation = this.#generation;
    this.#reads += 1;
    return {
      keep: (hash, known) => {
        const changedAt = Math.max(this.#changedAt.get(known.stream.id) ?? 0, this.#allChangedAt);
        if (changedAt > generation) return false;
        this.#put(hash, known);
        return true;
      },
      end: () => {
        this.#reads -= 1;
        if (this.#reads === 0) this.#changedAt.clear();
      },
    };
  }

  /**
   * The stream changed. Until `refreshForgotten` has read its keys again they are unknown: if the database goes away
   * just now, they are refused and not believed.
   */
  forgetStream(streamId: string): void {
    this.#generation += 1;
    if (this.#reads > 0) this.#changedAt.set(streamId, this.#generation);
    for (const hash of [...(this.#hashesOf.get(streamId) ?? [])]) {
      this.#forget(hash);
      this.#forgotten.add(hash);
    }
  }

  /** Reads again what `forgetStream` removed. @throws the database's error; the keys stay unknown then */
  async refreshForgotten(): Promise<void> {
    const hashes = [...this.#forgotten];
    this.#forgotten = new Set();
    await this.#refresh(hashes);
  }

  /**
   * Notifications may have been lost: reads every cached key again. Until then the old knowledge stays, for the
   * database may be away. @throws the database's error
   */
  async refreshAll(): Promise<void> {
    this.#generation += 1;
    this.#allChangedAt = this.#generation;
    await this.#refresh([...this.#known.keys()]);
  }

  async #refresh(hashes: string[]): Promise<void> {
    if (hashes.length === 0) return;
    const reading = this.startReading();
    try {
      const found = await this.#parts.readKeys(hashes);
      const stale: string[] = [];
      for (const hash of hashes) {
        const known = found.get(hash);
        if (known === undefined) this.#forget(hash);
        else if (!reading.keep(hash, known)) stale.push(hash);
      }
      await this.#refresh(stale);
    } finally {
      reading.end();
    }
  }

  #put(hash: string, known: KnownKey): void {
    this.#forget(hash);
    this.#known.set(hash, known);
    const { id } = known.stream;
    const hashes = this.#hashesOf.get(id);
    if (hashes === undefined) this.#hashesOf.set(id, new Set([hash]));
    else hashes.add(hash);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_KEYS && oldest !== undefined) this.#forget(oldest);
  }

  #forget(hash: string): void {
    const known = this.#known.get(hash);
    if (known === undefined) return;
    this.#known.delete(hash);
    const hashes = this.#hashesOf.get(known.stream.id);
    hashes?.delete(hash);
    if (hashes?.size === 0) this.#hashesOf.delete(known.stream.id);
  }
}
