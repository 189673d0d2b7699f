import type { PoolClient } from "../../db/pool.ts";
import { hideStreamKeys } from "../../hide-stream-keys.ts";
import type { LockedStream, SessionRow } from "./session-read-sql.ts";
import { deleteReserved, endMedia, giveUpReservation, setStatus } from "./session-write-sql.ts";

/** The session's connection is gone: the session waits for its encoder, or is over where it waits for none. */
export async function leaveSession(
  client: PoolClient,
  stream: LockedStream,
  { id, state }: SessionRow,
  why: string,
): Promise<void> {
  const reason = hideStreamKeys(why);
  if (state === "reserved") return deleteReserved(client, id);
  if (state === "reconnecting") return giveUpReservation(client, id, reason);
  await endMedia(client, { id, reason, windowSeconds: stream.reconnectSeconds });
  await setStatus(client, [stream.id], stream.reconnectSeconds > 0 ? "reconnecting" : "ended");
}
