import type { Pool } from "../db/pool.ts";
import type { SessionPolicy, Stream } from "../protocol/stream.ts";
import { STREAM_COLUMNS, type StreamRow, toStream } from "./stream-rows.ts";

/*
 * Stream key → stream. It only says whose key it is: whether that stream may be published is the database's to say,
 * as long as it is there. While it is away, what is known here decides; what is not known is refused.
 */

const MAX_KEYS = 10_000;
/** A wrong key is not looked up again for so long: an encoder with a wrong key asks every second. */
const MISS_TTL_MS = 10_000;

export interface KnownKey {
  stream: Stream;
  policy: SessionPolicy;
  /** Where it is the key before a rotation: until when it is good. */
  goodUntil: Date | null;
}

interface KeyRow extends StreamRow {
  keyHash: Buffer;
  policy: SessionPolicy;
  goodUntil: Date | null;
}

export class KeyCache {
  readonly #pool: Pool;
  /** By the hash in base64, the oldest first. Apart, so that wrong keys never push out right ones. */
  readonly #known = new Map<string, KnownKey>();
  readonly #missedAt = new Map<string, number>();
  /** Grows with every notification: what was read of a stream before one of its own is not kept after it. */
  #generation = 0;
  /** When a stream changed last, as long as something is being read. */
  readonly #changedAt = new Map<string, number>();
  #allChangedAt = 0;
  #reads = 0;

  constructor({ pool }: { pool: Pool }) {
    this.#pool = pool;
  }

  /** What is known of the key without asking; undefined where nothing is, null where it is nobody's. */
  peek(hash: Buffer): KnownKey | null | undefined {
    const key = hash.toString("base64");
    const missedAt = this.#missedAt.get(key);
    if (missedAt !== undefined && performance.now() - missedAt < MISS_TTL_MS) return null;
    return this.#known.get(key);
  }

  /** Asks the database. @throws the database's error */
  async load(hash: Buffer): Promise<KnownKey | null> {
    const key = hash.toString("base64");
    const { found, stale } = await this.#read([key]);
    const known = found.get(key) ?? null;
    // A key that is nobody's stays so: nobody makes one that was asked for before.
    if (known === null) put(this.#missedAt, key, performance.now());
    else if (!stale.has(key)) put(this.#known, key, known);
    return known;
  }

  /** The stream's key, or what it is worth, changed. What cannot be read again is forgotten: it is refused rather than believed. */
  async refreshStream(streamId: string): Promise<void> {
    this.#generation += 1;
    if (this.#reads > 0) this.#changedAt.set(streamId, this.#generation);
    const hashes = [...this.#known].filter(([, { stream }]) => stream.id === streamId).map(([hash]) => hash);
    for (const hash of hashes) this.#known.delete(hash);
    await this.#refresh(hashes);
  }

  /** Notifications may have been lost. What was known stays until it is read again, for the database may be away. */
  async refreshAll(): Promise<void> {
    this.#generation += 1;
    this.#allChangedAt = this.#generation;
    await this.#refresh([...this.#known.keys()]);
  }

  async #refresh(hashes: string[]): Promise<void> {
    if (hashes.length === 0) return;
    const { found, stale } = await this.#read(hashes);
    for (const hash of hashes) {
      const known = found.get(hash);
      if (known === undefined) this.#known.delete(hash);
      else if (!stale.has(hash)) put(this.#known, hash, known);
    }
    await this.#refresh([...stale]);
  }

  /** What is stored, and of which keys it may be older than a notification of their stream that came meanwhile. */
  async #read(hashes: string[]): Promise<{ found: Map<string, KnownKey>; stale: Set<string> }> {
    const generation = this.#generation;
    this.#reads += 1;
    try {
      const found = await this.#query(hashes.map((hash) => Buffer.from(hash, "base64")));
      const changedAt = (id: string) => Math.max(this.#changedAt.get(id) ?? 0, this.#allChangedAt);
      const stale = new Set(
        [...found].filter(([, { stream }]) => changedAt(stream.id) > generation).map(([hash]) => hash),
      );
      return { found, stale };
    } finally {
      this.#reads -= 1;
      if (this.#reads === 0) this.#changedAt.clear();
    }
  }

  async #query(hashes: Buffer[]): Promise<Map<string, KnownKey>> {
    const { rows } = await this.#pool.query<KeyRow>(
      `SELECT k.hash AS "keyHash", ${STREAM_COLUMNS}, s.policy,
         CASE WHEN s.key_hash <> k.hash THEN s.previous_key_until END AS "goodUntil"
       FROM unnest($1::bytea[]) AS k (hash)
       JOIN streams AS s ON s.key_hash = k.hash OR (s.previous_key_hash = k.hash AND s.previous_key_until > clock_timestamp())`,
      [hashes],
    );
    return new Map(
      rows.map(({ keyHash, policy, goodUntil, ...row }) => [
        keyHash.toString("base64"),
        { stream: toStream(row), policy, goodUntil },
      ]),
    );
  }
}

/** The newest stays longest. */
function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= MAX_KEYS) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}
