import type { Pool } from "../../db/pool.ts";
import type { SessionPolicy, Stream } from "../../protocol/stream.ts";
import { STREAM_COLUMNS, type StreamRow, toStream } from "../stream-rows.ts";

/*
 * Stream key → stream, by the key's hash in hex. It only says whose key it is: whether that stream may be published is
 * the database's to say, as long as it is there. While it is away, what is known here decides; what is not known is
 * refused. That a key is nobody's is not kept: one that is made a moment later is found at once.
 */

const MAX_KEYS = 50_000;

export interface KnownKey {
  stream: Stream;
  policy: SessionPolicy;
  /** Where it is the key before a rotation: until when it is good. */
  goodUntil: Date | null;
}

interface KeyRow extends StreamRow {
  keyHash: string;
  policy: SessionPolicy;
  goodUntil: Date | null;
}

/** A read of keys that is under way: what it finds is kept unless it may be older than a notification. */
export interface KeyReading {
  /** @returns whether it was kept */
  keep(hash: string, known: KnownKey): boolean;
  /** Once, whatever came of it. */
  end(): void;
}

export class KeyCache {
  readonly #pool: Pool;
  /** The one read longest ago first. */
  readonly #known = new Map<string, KnownKey>();
  /** A stream has at most two that are good. */
  readonly #hashesOf = new Map<string, Set<string>>();
  /** Grows with every notification: what was read of a stream before one of its own is not kept after it. */
  #generation = 0;
  /** When a stream changed last, as long as something is being read. */
  readonly #changedAt = new Map<string, number>();
  #allChangedAt = 0;
  #reads = 0;

  constructor({ pool }: { pool: Pool }) {
    this.#pool = pool;
  }

  /** What is known of the key without asking. */
  find(hash: string): KnownKey | undefined {
    return this.#known.get(hash);
  }

  /** Before keys are read from the database. */
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
   * The stream's key, or what it is worth, changed: it is forgotten, for it is refused rather than believed.
   * @returns what is to be read again
   */
  forgetStream(streamId: string): string[] {
    this.#generation += 1;
    if (this.#reads > 0) this.#changedAt.set(streamId, this.#generation);
    const hashes = [...(this.#hashesOf.get(streamId) ?? [])];
    for (const hash of hashes) this.#forget(hash);
    return hashes;
  }

  /** Notifications may have been lost. What was known stays until it is read again, for the database may be away. */
  async refreshAll(): Promise<void> {
    this.#generation += 1;
    this.#allChangedAt = this.#generation;
    await this.refresh([...this.#known.keys()]);
  }

  /** Reads them again. What is nobody's any more is forgotten. */
  async refresh(hashes: string[]): Promise<void> {
    if (hashes.length === 0) return;
    const reading = this.startReading();
    try {
      const found = await this.#query(hashes);
      const stale: string[] = [];
      for (const hash of hashes) {
        const known = found.get(hash);
        if (known === undefined) this.#forget(hash);
        else if (!reading.keep(hash, known)) stale.push(hash);
      }
      await this.refresh(stale);
    } finally {
      reading.end();
    }
  }

  async #query(hashes: string[]): Promise<Map<string, KnownKey>> {
    const { rows } = await this.#pool.query<KeyRow>(
      `SELECT encode(k.hash, 'hex') AS "keyHash", ${STREAM_COLUMNS}, s.policy,
         CASE WHEN s.key_hash <> k.hash THEN s.previous_key_until END AS "goodUntil"
       FROM unnest($1::bytea[]) AS k (hash)
       JOIN streams AS s ON s.key_hash = k.hash OR (s.previous_key_hash = k.hash AND s.previous_key_until > clock_timestamp())`,
      [hashes.map((hash) => Buffer.from(hash, "hex"))],
    );
    return new Map(
      rows.map(({ keyHash, policy, goodUntil, ...row }) => [keyHash, { stream: toStream(row), policy, goodUntil }]),
    );
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
