import type { Pool } from "../db/pool.ts";
import type { Stream } from "../protocol/stream.ts";
import { STREAM_COLUMNS, type StreamRow, toStream } from "./stream-rows.ts";

/** A snapshot of the topic `streams` holds at most so many. */
const SNAPSHOT_STREAMS = 200;

/** Reads what the topics of streams show. */
export function createStreamReader({ pool }: { pool: Pool }) {
  async function read(sql: string, parameters: unknown[]): Promise<Stream[]> {
    const { rows } = await pool.query<StreamRow>(`SELECT ${STREAM_COLUMNS} FROM streams AS s ${sql}`, parameters);
    return rows.map(toStream);
  }
  return {
    /** Streams by id; an id of no stream is missing. */
    streams: (ids: readonly string[]): Promise<Stream[]> =>
      ids.length === 0 ? Promise.resolve([]) : read("WHERE s.id = ANY($1::text[])", [ids]),
    /** Streams that are on air first, then the streams that changed last. */
    latestStreams: (): Promise<Stream[]> =>
      read("ORDER BY (s.status IN ('live', 'reconnecting')) DESC, s.version DESC LIMIT $1", [SNAPSHOT_STREAMS]),
  };
}
