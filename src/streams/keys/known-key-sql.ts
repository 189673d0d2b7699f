import type { Pool } from "../../db/pool.ts";
import type { SessionPolicy } from "../../protocol/stream.ts";
import { STREAM_COLUMNS, type StreamRow, toStream } from "../stream-rows.ts";
import type { KnownKey } from "./key-cache.ts";
import { toHashArray } from "./stream-key.ts";

interface Row extends StreamRow {
  keyHash: string;
  policy: SessionPolicy;
  goodUntil: Date | null;
}

/** Reads the streams of these keys. By hash in hex; a key that belongs to no stream is missing. @throws the database's error */
export async function readKnownKeys(pool: Pool, hashes: readonly string[]): Promise<Map<string, KnownKey>> {
  const { rows } = await pool.query<Row>(
    `SELECT encode(k.hash, 'hex') AS "keyHash", ${STREAM_COLUMNS}, s.policy,
       CASE WHEN s.key_hash <> k.hash THEN s.previous_key_until END AS "goodUntil"
     FROM unnest($1::bytea[]) AS k (hash)
     JOIN streams AS s ON s.key_hash = k.hash OR (s.previous_key_hash = k.hash AND s.previous_key_until > clock_timestamp())`,
    [toHashArray(hashes)],
  );
  return new Map(
    rows.map(({ keyHash, policy, goodUntil, ...row }) => [keyHash, { stream: toStream(row), policy, goodUntil }]),
  );
}
