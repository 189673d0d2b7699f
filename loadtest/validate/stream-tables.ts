import { hashStreamKey } from "../../src/streams/keys/stream-key.ts";
import { withClient } from "../load/database.ts";

/*
 * The streams of the load: each number has a key, and a media server whose connection publishes it. SQL writes the rows,
 * because only the checks of keys are measured.
 */

export const MEDIA_SERVERS = 16;
/** Calls at the same time in a closed loop: enough to keep one process busy. */
export const UNDER_WAY = 256;
export const BOOT = "loadtest";
const OWNER = "loadtest-owner";
const CHUNK = 5000;

/** A range of numbers of streams. */
export interface Streams {
  from: number;
  count: number;
}

export function toStreamKey(stream: number): string {
  return `phk_load${String(stream).padStart(32, "0")}`;
}

/** The media server of a stream. Only its connection may check the key again. */
export function serverOf(stream: number): number {
  return stream % MEDIA_SERVERS;
}

export function toServerName(server: number): string {
  return `edge-${server}`;
}

const ID_IN_RANGE = "IN (SELECT 'load-' || n FROM unnest($1::integer[]) AS n)";

/** Each statement writes the rows of the numbers in its first parameter. */
const STATEMENTS = {
  /** Streams whose keys were never checked. */
  create: [
    `INSERT INTO streams (id, user_id, title, key_hash, key_prefix)
     SELECT 'load-' || n, '${OWNER}', 'Load ' || n, hash, 'phk_load00' FROM unnest($1::integer[], $2::bytea[]) AS k (n, hash)`,
  ],
  /** The streams go live, each on its media server's connection. */
  goLive: [
    `INSERT INTO stream_sessions (stream_id, claim, server, boot, connection, state, started_at, lease_until)
     SELECT 'load-' || n, gen_random_uuid()::text, 'edge-' || n % ${MEDIA_SERVERS}, '${BOOT}', 'c' || n, 'live', now(), now() + interval '1 hour'
     FROM unnest($1::integer[]) AS n`,
    `UPDATE streams SET status = 'live' WHERE id ${ID_IN_RANGE}`,
  ],
  /** The encoders were live and lost their connections. They may come back. */
  leave: [
    `UPDATE stream_sessions SET state = 'reconnecting', started_at = clock_timestamp(), ended_at = clock_timestamp(), end_reason = 'ended',
       reserved_until = NULL, reconnect_until = clock_timestamp() + interval '1 hour'
     WHERE state = 'reserved' AND stream_id ${ID_IN_RANGE}`,
    `UPDATE streams SET status = 'reconnecting' WHERE id ${ID_IN_RANGE}`,
  ],
  /** The streams end, before all reservations without a start expire at once. */
  end: [
    `DELETE FROM stream_sessions WHERE stream_id ${ID_IN_RANGE}`,
    `UPDATE streams SET status = 'ended' WHERE id ${ID_IN_RANGE}`,
  ],
};

/** The number of streams with two open sessions, and of deadlocks. */
const COUNT_WRONGS = `
SELECT (SELECT count(*)::integer FROM (SELECT FROM stream_sessions WHERE state <> 'ended' GROUP BY stream_id HAVING count(*) > 1)) AS sessions,
  (SELECT sum(deadlocks)::integer FROM pg_stat_database) AS deadlocks`;

export type StreamTables = Awaited<ReturnType<typeof openStreamTables>>;

export async function openStreamTables(url: string) {
  const run = (statement: string, values: unknown[] = []) =>
    withClient(url, async (client) => (await client.query(statement, values)).rows);
  await run("INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING", [OWNER]);
  return {
    async change(how: keyof typeof STATEMENTS, { from, count }: Streams): Promise<void> {
      for (let first = from; first < from + count; first += CHUNK) {
        const numbers = Array.from({ length: Math.min(CHUNK, from + count - first) }, (_, i) => first + i);
        const hashes = numbers.map((stream) => hashStreamKey(toStreamKey(stream)));
        for (const statement of STATEMENTS[how]) await run(statement, how === "create" ? [numbers, hashes] : [numbers]);
      }
    },
    async vacuum(): Promise<void> {
      for (const table of ["streams", "stream_sessions"]) await run(`VACUUM (ANALYZE) ${table}`);
      await run("CHECKPOINT");
    },
    countWrongs: async () => (await run(COUNT_WRONGS))[0] as { sessions: number; deadlocks: number },
  };
}
