import { toPlainArray, toTextArray } from "../../db/array-literal.ts";
import type { PoolClient } from "../../db/pool.ts";

/*
 * Steps that several transactions take, of many sessions at once; whoever calls holds the locks of their streams. A
 * session is written before its stream's status: triggers read it.
 */

/** An SQL expression: the end of a lease of as many seconds as the other says. */
export function leaseOf(seconds: string): string {
  return `clock_timestamp() + make_interval(secs => ${seconds})`;
}

/** The media of these sessions flows; each is named by its claim. */
export async function goLive(
  client: PoolClient,
  sessions: readonly { streamId: string; sessionId: string; leaseSeconds: number }[],
): Promise<void> {
  if (sessions.length === 0) return;
  await client.query(
    `UPDATE stream_sessions AS e SET state = 'live', reserved_until = NULL, reconnect_until = NULL, ended_at = NULL, end_reason = NULL,
       started_at = coalesce(started_at, clock_timestamp()), lease_until = ${leaseOf("k.lease_seconds")}
     FROM unnest($1::text[], $2::float8[]) AS k (claim, lease_seconds) WHERE e.claim = k.claim`,
    [
      toTextArray(sessions.map(({ sessionId }) => sessionId)),
      toPlainArray(sessions.map(({ leaseSeconds }) => leaseSeconds)),
    ],
  );
  await setStatus(
    client,
    sessions.map(({ streamId }) => streamId),
    "live",
  );
}

/** Those that have it already stay as they are. */
export async function setStatus(
  client: PoolClient,
  streamIds: readonly string[],
  status: "live" | "reconnecting" | "ended",
): Promise<void> {
  if (streamIds.length === 0) return;
  await client.query("UPDATE streams SET status = $2 WHERE id = ANY($1::text[]) AND status <> $2", [
    toTextArray(streamIds),
    status,
  ]);
}
