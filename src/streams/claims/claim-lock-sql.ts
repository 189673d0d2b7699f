import { toTextArray } from "../../db/array-literal.ts";
import type { PoolClient } from "../../db/pool.ts";
import { toHashArray } from "../keys/stream-key.ts";
import { STREAM_COLUMNS, type StreamRow } from "../stream-rows.ts";
import type { Claim } from "./claim.ts";
import type { ActiveSession, ClaimedStream } from "./claim-decision.ts";

/*
 * Streams as claims find them, for many at once; whoever reads holds their locks. What is past, is so by the
 * database's clock.
 */

export interface ActiveRow extends ActiveSession {
  id: number;
  sessionId: string;
}

export interface ClaimedRow extends StreamRow, ClaimedStream {
  reconnectSeconds: number;
  keyIsGood: boolean;
  lifetimeMs: number;
  /** By the database's clock, and when that was by `performance.now()`. */
  now: Date;
  readAt: number;
  active: ActiveRow | null;
}

type Row = Omit<ClaimedRow, "active" | "readAt"> & { i: number; activeId: number | null } & Omit<ActiveRow, "id">;

/** Read anew after the locks were taken: the clock, and what was written while they were waited for. */
export async function readClaimedRows(
  client: PoolClient,
  claims: readonly Claim[],
  defaultReconnectSeconds: number,
): Promise<Map<Claim, ClaimedRow>> {
  const { rows } = await client.query<Row>({
    name: "read-claimed-rows",
    text: `SELECT k.i::integer, ${STREAM_COLUMNS}, s.policy, coalesce(s.reconnect_seconds, $3::integer) AS "reconnectSeconds", clock_timestamp() AS now,
        coalesce(s.key_hash = k.hash OR (s.previous_key_hash = k.hash AND s.previous_key_until > clock_timestamp()), false) AS "keyIsGood",
        coalesce(s.expires_at <= clock_timestamp(), false) AS "isExpired", ${LIFETIME_MS} AS "lifetimeMs",
        e.id AS "activeId", e.claim AS "sessionId", e.claimed_at AS "claimedAt", e.server, e.boot, e.connection, e.state,
        coalesce(e.reserved_until > clock_timestamp(), false) AS "isReserved"
      FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS k (id, hash, i)
      JOIN streams AS s ON s.id = k.id
      LEFT JOIN stream_sessions AS e ON e.stream_id = s.id AND e.state <> 'ended'`,
    values: [
      toTextArray(claims.map(({ streamId }) => streamId)),
      toHashArray(claims.map(({ keyHash }) => keyHash.toString("hex"))),
      defaultReconnectSeconds,
    ],
  });
  const readAt = performance.now();
  return new Map(
    rows.map(({ i, activeId, sessionId, claimedAt, server, boot, connection, state, isReserved, ...stream }) => {
      const active =
        activeId === null ? null : { id: activeId, sessionId, claimedAt, server, boot, connection, state, isReserved };
      return [claims[i - 1] as Claim, { ...stream, readAt, active }];
    }),
  );
}

const LIFETIME_MS = `CASE WHEN s.expires_at IS NULL THEN 0
  ELSE greatest(1, ceil(extract(epoch FROM s.expires_at - clock_timestamp()) * 1000)) END::float8`;
