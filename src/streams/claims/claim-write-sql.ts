import { toPlainArray, toTextArray } from "../../db/array-literal.ts";
import type { PoolClient } from "../../db/pool.ts";
import { hideStreamKeys } from "../../hide-stream-keys.ts";
import { toHashArray } from "../keys/stream-key.ts";
import type { Claim } from "./claim.ts";
import type { ClaimDecision } from "./claim-decision.ts";
import type { ClaimedRow } from "./claim-lock-sql.ts";

/*
 * Writes decided claims, one statement a kind of decision. The caller holds the locks of their streams.
 */

/** How long an admitted connection may take to start its media. */
export const RESERVATION_SECONDS = 10;
const RESERVED_UNTIL = `clock_timestamp() + interval '${RESERVATION_SECONDS} seconds'`;

/** The columns of a session that describe the connection holding it. */
const HELD_COLUMNS = "claim, server, boot, connection, app, client_ip, protocol, key_hash, admitted_at";
const HELD_ARRAYS =
  "$1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::timestamptz[]";

/** A claim that is not refused. */
export interface DecidedClaim {
  claim: Claim;
  /** The claim's boot, or the derived one. */
  boot: string;
  row: ClaimedRow;
  decision: Exclude<ClaimDecision, { kind: "refuse" }>;
  /** The session's id from now on. */
  sessionId: string;
  /** By the database's clock; null where the claim was not admitted during an outage. */
  admittedAt: Date | null;
}

/** Ends the active sessions of claims that oust them. */
export async function endOusted(client: PoolClient, claims: readonly DecidedClaim[]): Promise<void> {
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

/** Renews the reservations of connections that asked again. */
export async function renew(client: PoolClient, claims: readonly DecidedClaim[]): Promise<void> {
  if (claims.length === 0) return;
  await client.query(
    `UPDATE stream_sessions AS e SET claim = k.claim, reserved_until = CASE WHEN state <> 'live' THEN ${RESERVED_UNTIL} END
     FROM unnest($1::bigint[], $2::text[]) AS k (id, claim) WHERE e.id = k.id`,
    [toActiveIds(claims), toTextArray(claims.map(({ sessionId }) => sessionId))],
  );
}

/** Gives active sessions to the connections that go on with them. */
export async function resume(client: PoolClient, claims: readonly DecidedClaim[]): Promise<void> {
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

/** Inserts new sessions. */
export async function begin(client: PoolClient, claims: readonly DecidedClaim[]): Promise<void> {
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

function toHeld(claims: readonly DecidedClaim[]): string[] {
  const texts = (pick: (decided: DecidedClaim) => string | null) => toTextArray(claims.map(pick));
  return [
    texts(({ sessionId }) => sessionId),
    texts(({ claim }) => claim.server),
    texts(({ boot }) => boot),
    texts(({ claim }) => claim.connection),
    texts(({ claim }) => toStored(claim.app)),
    texts(({ claim }) => toStored(claim.clientIp)),
    texts(({ claim }) => toStored(claim.protocol)),
    toHashArray(claims.map(({ claim }) => claim.keyHash.toString("hex"))),
    texts(({ admittedAt }) => admittedAt?.toISOString() ?? null),
  ];
}

function toActiveIds(claims: readonly DecidedClaim[]): string {
  return toPlainArray(claims.map(({ row }) => row.active?.id ?? null));
}

/** Some people give their encoder the whole address, key included, where it asks for a server. Media servers quote that. */
function toStored(text: string | null): string | null {
  return text === null ? null : hideStreamKeys(text);
}
