import pg from "pg";
import { hashStreamKey } from "../../src/streams/keys/stream-key.ts";

/*
 * The streams of the load, by number: their keys, and the connections of media servers that publish them. Written by
 * SQL: what is measured is how they are validated.
 */

export const MEDIA_SERVERS = 16;
export const BOOT = "loadtest";
const OWNER = "loadtest-owner";
const CHUNK = 5000;

export function toStreamKey(stream: number): string {
  return `phk_load${String(stream).padStart(32, "0")}`;
}

/** The media server a stream belongs to, by number: its own connection alone may ask again. */
export function serverOf(stream: number): number {
  return stream % MEDIA_SERVERS;
}

export function toServerName(server: number): string {
  return `edge-${server}`;
}

/** A range of streams, by number. */
export interface Streams {
  from: number;
  count: number;
}

export class StreamTables {
  readonly #client: pg.Client;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async open(url: string): Promise<StreamTables> {
    const client = new pg.Client({ connectionString: url, application_name: "loadtest" });
    await client.connect();
    await client.query("INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING", [OWNER]);
    return new StreamTables(client);
  }

  /** Streams whose keys nobody has asked for yet. */
  async create({ from, count }: Streams): Promise<void> {
    for (let first = from; first < from + count; first += CHUNK) {
      const numbers = Array.from({ length: Math.min(CHUNK, from + count - first) }, (_, i) => first + i);
      await this.#client.query(
        `INSERT INTO streams (id, user_id, title, key_hash, key_prefix)
         SELECT 'load-' || n, $3, 'Load ' || n, hash, 'phk_load00' FROM unnest($1::integer[], $2::bytea[]) AS k (n, hash)`,
        [numbers, numbers.map((stream) => hashStreamKey(toStreamKey(stream))), OWNER],
      );
    }
  }

  /** On air, each by the connection that the load gives it. */
  async goLive(streams: Streams): Promise<void> {
    const ids = idsOf(streams);
    await this.#client.query(
      `INSERT INTO stream_sessions (stream_id, claim, server, boot, connection, state, started_at, lease_until)
       SELECT 'load-' || n, gen_random_uuid()::text, 'edge-' || n % ${MEDIA_SERVERS}, $2, 'c' || n, 'live', now(), now() + interval '1 hour'
       FROM unnest($1::integer[]) AS n`,
      [ids, BOOT],
    );
    await this.#client.query(
      "UPDATE streams SET status = 'live' WHERE id IN (SELECT 'load-' || n FROM unnest($1::integer[]) AS n)",
      [ids],
    );
  }

  /** Their encoders were on air and are gone, and may come back. */
  async leave(streams: Streams): Promise<void> {
    const ids = idsOf(streams);
    await this.#client.query(
      `UPDATE stream_sessions SET state = 'reconnecting', started_at = clock_timestamp(), ended_at = clock_timestamp(), end_reason = 'ended',
         reserved_until = NULL, reconnect_until = clock_timestamp() + interval '1 hour'
       WHERE state = 'reserved' AND stream_id IN (SELECT 'load-' || n FROM unnest($1::integer[]) AS n)`,
      [ids],
    );
    await this.#client.query(
      "UPDATE streams SET status = 'reconnecting' WHERE id IN (SELECT 'load-' || n FROM unnest($1::integer[]) AS n)",
      [ids],
    );
  }

  /** Before reservations that nobody starts come to their end, all at once. */
  async end(streams: Streams): Promise<void> {
    const ids = idsOf(streams);
    await this.#client.query(
      "DELETE FROM stream_sessions WHERE stream_id IN (SELECT 'load-' || n FROM unnest($1::integer[]) AS n)",
      [ids],
    );
    await this.#client.query(
      "UPDATE streams SET status = 'ended' WHERE id IN (SELECT 'load-' || n FROM unnest($1::integer[]) AS n)",
      [ids],
    );
  }

  async vacuum(): Promise<void> {
    for (const table of ["streams", "stream_sessions"]) await this.#client.query(`VACUUM (ANALYZE) ${table}`);
    await this.#client.query("CHECKPOINT");
  }

  /** Streams with more than one session that is not over, or a status that is not its session's; deadlocks. */
  async countWrongs(): Promise<{ wrongs: number; deadlocks: number }> {
    const { rows } = await this.#client.query<{ wrongs: number; deadlocks: number }>(
      `SELECT (SELECT count(*)::integer FROM (SELECT FROM stream_sessions WHERE state <> 'ended' GROUP BY stream_id HAVING count(*) > 1)) AS wrongs,
         (SELECT sum(deadlocks)::integer FROM pg_stat_database) AS deadlocks`,
    );
    return rows[0] as { wrongs: number; deadlocks: number };
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}

function idsOf({ from, count }: Streams): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}
