import type { Pool } from "../db/pool.ts";
import type { Stream } from "../protocol/stream.ts";
import { STREAM_COLUMNS, type StreamRow, toStream } from "./stream-rows.ts";

/** A snapshot of all streams holds so many. */
const SNAPSHOT_STREAMS = 200;

/** What topics show of streams. */
export function createStreamReader({ pool }: { pool: Pool }) {
  async function read(sql: string, parameters: unknown[]): Promise<Stream[]> {
    return (await pool.query<StreamRow>(`SELECT ${STREAM_COLUMNS} FROM streams AS s ${sql}`, parameters)).rows.map(
      toStream,
    );
  }
  return {
    streams: (ids: readonly string[]): Promise<Stream[]> =>
      ids.length === 0 ? Promise.resolve([]) : read("WHERE s.id = ANY($1::text[])", [ids]),
    latestStreams: (): Promise<Stream[]> =>
      read("ORDER BY (s.status IN ('live', 'reconnecting')) DESC, s.updated_at DESC LIMIT $1", [SNAPSHOT_STREAMS]),
  };
}
