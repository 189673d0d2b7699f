import type { Pool } from "../../db/pool.ts";
import type { SessionDrop } from "./session-drop.ts";

/** A media server that comes back later than this hears of a dropped session only when it reports the session. */
const DROPS_KEPT = "1 hour";
/** At most so many are told at once. */
const MAX_DROPS = 10_000;

/** Which sessions are asked about. */
export type DroppedOf = { streamIds: readonly string[] } | { server: string; boot: string } | "all";

/** Reads sessions that ended lately although their media server did not end them. The newest first. */
export async function findDrops(pool: Pool, of: DroppedOf): Promise<SessionDrop[]> {
  const [whose, values] = toCondition(of);
  const { rows } = await pool.query<SessionDrop>(
    `SELECT server, boot, connection, claim AS "sessionId", drop_reason AS reason FROM stream_sessions
     WHERE ${whose} AND state = 'ended' AND drop_reason IS NOT NULL
       AND ended_at > clock_timestamp() - interval '${DROPS_KEPT}' ORDER BY ended_at DESC LIMIT ${MAX_DROPS}`,
    values,
  );
  return rows;
}

function toCondition(of: DroppedOf): [condition: string, values: unknown[]] {
  if (of === "all") return ["true", []];
  if ("streamIds" in of) return ["stream_id = ANY($1::text[])", [of.streamIds]];
  return ["server = $1 AND boot = $2", [of.server, of.boot]];
}
