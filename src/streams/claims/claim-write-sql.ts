import { toPlainArray, toTextArray } from "../../db/array-literal.ts";
import type { PoolClient } from "../../db/pool.ts";
import { hideStreamKeys } from "../../hide-stream-keys.ts";
import { toHashArray } from "../keys/stream-key.ts";
import type { Claim } from "./claim.ts";
import type { ClaimDecision } from "./claim-decision.ts";
import type { ClaimedRow } from "./claim-lock-sql.ts";

/*
 * What decided claims write, one statement a kind; whoever calls holds the locks of their streams.
 */

/** From the admission to the start of the media. */
export const RESERVATION_SECONDS = 10;
const RESERVED_UNTIL = `clock_timestamp() + interval '${RESERVATION_SECONDS} seconds'`;

/** What a session says of the connection that holds it. */
const HELD_COLUMNS = "claim, server, boot, connection, app, client_ip, protocol, key_hash, admitted_at";
const HELD_ARRAYS =
  "$1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::timestamptz[]";

export interface WrittenClaim {
  claim: Claim;
  /** The claim's, or the one that was derived. */
  boot: string;
  row: ClaimedRow;
  decision: ClaimDecision;
  /** What the session is known by from now on. */
  sessionId: string;
}

export async function endOusted(client: PoolClient, claims: readonly WrittenClaim[]): Promise<void> {
  if (claims.length === 0) return;
  await client.query(
    `UPDATE stream_sessions AS e SET state = 'ended', ended_at = coalesce(ended_at, clock_timestamp()), end_reason = k.reason, drop_reason = k.reason
     FROM unnest($1::bigint[], $2::text[]) AS k (id, reason) WHERE e.id = k.id`,
    [
      toActiveIds(claims),
      toTextArray(claims.map(({ decision }) => (decision.kind === "oust" ? decision.reason : "taken_over"))),
    ],
  );
}

/** The same connection asks again. */
export async function renew(client: PoolClient, claims: readonly WrittenClaim[]): Promise<void> {
  if (claims.length === 0) return;
  await client.query(
    `UPDATE stream_sessions AS e SET claim = k.claim, reserved_until = CASE WHEN state <> 'live' THEN ${RESERVED_UNTIL} END
     FROM unnest($1::bigint[], $2::text[]) AS k (id, claim) WHERE e.id = k.id`,
    [toActiveIds(claims), toTextArray(claims.map(({ sessionId }) => sessionId))],
  );
}

/** Sessions go on with another connection. */
export async function resume(client: PoolClient, claims: readonly WrittenClaim[]): Promise<void> {
  if (claims.length === 0) return;
  await client.query(
    `UPDATE stream_sessions AS e SET claim = k.claim, server = k.server, boot = k.boot, connection = k.connection, app = k.app,
       client_ip = k.client_ip, protocol = k.protocol, key_hash = k.key_hash, claimed_at = coalesce(k.admitted_at, clock_timestamp()),
       provisional = provisional OR k.admitted_at IS NOT NULL, reserved_until = ${RESERVED_UNTIL}, media_time_ms = NULL,
       connections = connections + (started_at IS NOT NULL)::integer, lease_until = NULL,
       state = CASE WHEN started_at IS NULL THEN 'reserved' ELSE 'reconnecting' END,
       ended_at = CASE WHEN started_at IS NOT NULL THEN coalesce(ended_at, clock_timestamp()) END,
       reconnect_until = coalesce(reconnect_until, clock_timestamp() + make_interval(secs => k.reconnect_seconds))
     FROM unnest(${HELD_ARRAYS}, $10::bigint[], $11::float8[]) AS k (${HELD_COLUMNS}, id, reconnect_seconds) WHERE e.id = k.id`,
    [...toHeld(claims), toActiveIds(claims), toPlainArray(claims.map(({ row }) => row.reconnectSeconds))],
  );
}

/** Sessions of their own. */
export async function begin(client: PoolClient, claims: readonly WrittenClaim[]): Promise<void> {
  if (claims.length === 0) return;
  await client.query({
    name: "begin-sessions",
    text: `INSERT INTO stream_sessions (claim, server, boot, connection, app, client_ip, protocol, key_hash, claimed_at, provisional, reserved_until, state, stream_id)
      SELECT claim, server, boot, connection, app, client_ip, protocol, key_hash, coalesce(admitted_at, clock_timestamp()), admitted_at IS NOT NULL,
        ${RESERVED_UNTIL}, 'reserved', stream_id
      FROM unnest(${HELD_ARRAYS}, $10::text[]) AS k (${HELD_COLUMNS}, stream_id)`,
    values: [...toHeld(claims), toTextArray(claims.map(({ claim }) => claim.streamId))],
  });
}

function toHeld(claims: readonly WrittenClaim[]): string[] {
  const texts = (pick: (written: WrittenClaim) => string | null) => toTextArray(claims.map(pick));
  return [
    texts(({ sessionId }) => sessionId),
    texts(({ claim }) => claim.server),
    texts(({ boot }) => boot),
    texts(({ claim }) => claim.connection),
    texts(({ claim }) => toStored(claim.app)),
    texts(({ claim }) => toStored(claim.clientIp)),
    texts(({ claim }) => toStored(claim.protocol)),
    toHashArray(claims.map(({ claim }) => claim.keyHash.toString("hex"))),
    texts(({ claim, row }) => toAdmittedAt(claim, row)?.toISOString() ?? null),
  ];
}

function toActiveIds(claims: readonly WrittenClaim[]): string {
  return toPlainArray(claims.map(({ row }) => row.active?.id ?? null));
}

/** Encoders are given a whole address where a server's is asked for, and media servers quote them. */
function toStored(text: string | null): string | null {
  return text === null ? null : hideStreamKeys(text);
}

/** By the database's clock. */
export function toAdmittedAt({ admittedAt }: Claim, { now, readAt }: ClaimedRow): Date | null {
  return admittedAt === undefined ? null : new Date(now.getTime() - (readAt - admittedAt));
}
