import { hashStreamKey } from "../../src/streams/keys/stream-key.ts";
import { withClient } from "../load/database.ts";

/*
 * The streams of the load, by number: their keys, and the connections of media servers that publish them. They are written
 * by SQL: what is measured is how their keys are checked.
 */

export const MEDIA_SERVERS = 16;
/** Calls under way in a closed loop: enough for one process to have always something to do. */
export const UNDER_WAY = 256;
export const BOOT = "loadtest";
const OWNER = "loadtest-owner";
const CHUNK = 5000;

/** A range of streams. */
export interface Streams {
  from: number;
  count: number;
}

export function toStreamKey(stream: number): string {
  return `phk_load${String(stream).padStart(32, "0")}`;
}

/** The media server that a stream belongs to: its own connection alone may ask again. */
export function serverOf(stream: number): number {
  return stream % MEDIA_SERVERS;
}

export function toServerName(server: number): string {
  return `edge-${server}`;
}

const ID_IN_RANGE = "IN (SELECT 'load-' || n FROM unnest($1::integer[]) AS n)";

/** Each writes to the rows of a range, whose numbers are its first parameter. */
const STATEMENTS = {
  /** Nobody has asked for their keys yet. */
  create: [
    `INSERT INTO streams (id, user_id, title, key_hash, key_prefix)
     SELECT 'load-' || n, '${OWNER}', 'Load ' || n, hash, 'phk_load00' FROM unnest($1::integer[], $2::bytea[]) AS k (n, hash)`,
  ],
  /** On air, each by the connection that the load gives it. */
  goLive: [
    `INSERT INTO stream_sessions (stream_id, claim, server, boot, connection, state, started_at, lease_until)
     SELECT 'load-' || n, gen_random_uuid()::text, 'edge-' || n % ${MEDIA_SERVERS}, '${BOOT}', 'c' || n, 'live', now(), now() + interval '1 hour'
     FROM unnest($1::integer[]) AS n`,
    `UPDATE streams SET status = 'live' WHERE id ${ID_IN_RANGE}`,
  ],
  /** Their encoders were on air and are gone, and may come back. */
  leave: [
    `UPDATE stream_sessions SET state = 'reconnecting', started_at = clock_timestamp(), ended_at = clock_timestamp(), end_reason = 'ended',
       reserved_until = NULL, reconnect_until = clock_timestamp() + interval '1 hour'
     WHERE state = 'reserved' AND stream_id ${ID_IN_RANGE}`,
    `UPDATE streams SET status = 'reconnecting' WHERE id ${ID_IN_RANGE}`,
  ],
  /** Before reservations that nobody starts run out, all at once. */
  end: [
    `DELETE FROM stream_sessions WHERE stream_id ${ID_IN_RANGE}`,
    `UPDATE streams SET status = 'ended' WHERE id ${ID_IN_RANGE}`,
  ],
};

/** Streams with more than one session that is not over; deadlocks. */
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
