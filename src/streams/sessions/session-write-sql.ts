import { toPlainArray, toTextArray } from "../../db/array-literal.ts";
import type { PoolClient } from "../../db/pool.ts";
import type { ReportedFigures } from "./reported-figures.ts";

/*
 * Writes of sessions and of their streams' statuses. The caller holds the locks of the streams, and writes a session
 * before its stream's status: the triggers of the status read the session.
 */

/** The media of these sessions flows. */
export async function goLive(
  client: PoolClient,
  sessions: readonly { streamId: string; sessionId: string; leaseSeconds: number }[],
): Promise<void> {
  if (sessions.length === 0) return;
  await client.query(
    `UPDATE stream_sessions AS e SET state = 'live', reserved_until = NULL, reconnect_until = NULL, ended_at = NULL, end_reason = NULL,
       started_at = coalesce(started_at, clock_timestamp()), lease_until = clock_timestamp() + make_interval(secs => k.lease_seconds),
       lease_seconds = k.lease_seconds
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

/** Does not touch streams that have the status already. */
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

/** Renews the lease of a live session, and adds what was reported to its history and to its stream. */
export async function renewLease(
  client: PoolClient,
  { id, streamId }: { id: number; streamId: string },
  figures: ReportedFigures,
  leaseSeconds: number,
): Promise<void> {
  const { bitrateKbps = null, viewers = null, peakViewers = viewers, mediaTimeMs = null } = figures;
  const { bitrateSum = bitrateKbps ?? 0, bitrateReports = bitrateKbps === null ? 0 : 1 } = figures;
  await client.query(
    `UPDATE stream_sessions SET lease_until = clock_timestamp() + make_interval(secs => $2), lease_seconds = $2, media_time_ms = coalesce($3, media_time_ms),
       peak_viewers = greatest(peak_viewers, $4::integer), bitrate_sum = bitrate_sum + $5, bitrate_reports = bitrate_reports + $6
     WHERE id = $1`,
    [id, leaseSeconds, round(mediaTimeMs), peakViewers, Math.round(bitrateSum), bitrateReports],
  );
  await client.query(
    `UPDATE streams SET bitrate_kbps = coalesce($2, bitrate_kbps), viewers = coalesce($3, viewers)
     WHERE id = $1 AND (bitrate_kbps, viewers) IS DISTINCT FROM (coalesce($2, bitrate_kbps), coalesce($3, viewers))`,
    [streamId, round(bitrateKbps), viewers],
  );
}

function round(value: number | null): number | null {
  return value === null ? null : Math.round(value);
}

/** Deletes a reservation that was never started. */
export async function deleteReserved(client: PoolClient, id: number): Promise<void> {
  await client.query("DELETE FROM stream_sessions WHERE id = $1", [id]);
}

/** A reconnecting session loses the connection that was about to resume it. Its reconnect window goes on from the end of the media. */
export async function giveUpReservation(client: PoolClient, id: number, reason: string): Promise<void> {
  await client.query("UPDATE stream_sessions SET reserved_until = NULL, end_reason = $2 WHERE id = $1", [id, reason]);
}

/** The media of a live session ended: it waits for its encoder, or is over where the window is 0 s. */
export async function endMedia(
  client: PoolClient,
  { id, reason, windowSeconds }: { id: number; reason: string; windowSeconds: number },
): Promise<void> {
  await client.query(
    `UPDATE stream_sessions SET state = $2, end_reason = $3, reserved_until = NULL, lease_until = NULL,
       ended_at = coalesce(ended_at, clock_timestamp()), reconnect_until = clock_timestamp() + make_interval(secs => $4)
     WHERE id = $1`,
    [id, windowSeconds > 0 ? "reconnecting" : "ended", reason, windowSeconds],
  );
}

/** A reconnecting session is over. */
export async function endSession(client: PoolClient, id: number): Promise<void> {
  await client.query("UPDATE stream_sessions SET state = 'ended' WHERE id = $1", [id]);
}
