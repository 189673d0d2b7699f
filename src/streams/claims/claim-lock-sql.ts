import { toTextArray } from "../../db/array-literal.ts";
import type { PoolClient } from "../../db/pool.ts";
import { toHashArray } from "../keys/stream-key.ts";
import { STREAM_COLUMNS, type StreamRow } from "../stream-rows.ts";
import type { Claim } from "./claim.ts";
import type { ActiveSession, ClaimedStream } from "./claim-decision.ts";

/*
 * Locks the streams of claims, and reads what decides them while the locks are held. Every deadline is compared with
 * the database's clock.
 */

export interface ActiveRow extends ActiveSession {
  id: number;
  sessionId: string;
}

export interface ClaimedRow extends StreamRow, ClaimedStream {
  reconnectSeconds: number;
  keyIsGood: boolean;
  lifetimeMs: number;
  /** The database's clock at the read. */
  now: Date;
  /** The same moment by `performance.now()`. */
  readAt: number;
  active: ActiveRow | null;
}

/** The boot of a media server's newest session. */
export interface LastBoot {
  boot: string;
  /** The asking connection published in this boot, and has not been unpublished. */
  isPublishing: boolean;
}

type Row = Omit<ClaimedRow, "active" | "readAt"> & { i: number; activeId: number | null } & Omit<ActiveRow, "id">;

/** Locks those streams that nobody else has locked; waits for none. @returns the ids of the locked streams */
export async function lockFreeStreams(client: PoolClient, streamIds: readonly string[]): Promise<Set<string>> {
  const { rows } = await client.query<{ id: string }>({
    name: "lock-free-streams",
    text: "SELECT id FROM streams WHERE id = ANY($1::text[]) FOR NO KEY UPDATE SKIP LOCKED",
    values: [toTextArray(streamIds)],
  });
  return new Set(rows.map(({ id }) => id));
}

/** A statement of its own after the locks: it sees the clock, and what others wrote, while the locks were waited for. */
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

/** For claims that name no boot; a media server without any session is missing. */
export async function readLastBoots(client: PoolClient, claims: readonly Claim[]): Promise<Map<Claim, LastBoot>> {
  const bootless = claims.filter(({ boot }) => boot === null);
  if (bootless.length === 0) return new Map();
  const { rows } = await client.query<LastBoot & { i: number }>(
    `SELECT k.i::integer, last.boot, EXISTS (SELECT FROM stream_sessions WHERE server = k.server AND boot = last.boot AND connection = k.connection
         AND end_reason IS DISTINCT FROM 'unpublished') AS "isPublishing"
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (server, connection, i)
     CROSS JOIN LATERAL (SELECT boot FROM stream_sessions WHERE server = k.server ORDER BY claimed_at DESC LIMIT 1) AS last`,
    [toTextArray(bootless.map(({ server }) => server)), toTextArray(bootless.map(({ connection }) => connection))],
  );
  return new Map(rows.map(({ i, ...last }) => [bootless[i - 1] as Claim, last]));
}
