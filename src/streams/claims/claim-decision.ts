import type { Refusal, SessionPolicy, StreamStatus } from "../../protocol/stream.ts";

/*
 * What a claim meets: the rules of who gets a stream, apart from how they are stored. Whoever calls holds the
 * stream's lock, so what is decided is still true when it is written.
 */

/** The stream as it is, by the database's clock. */
export interface ClaimedStream {
  status: StreamStatus;
  policy: SessionPolicy;
  /** Its key may have expired before anybody wrote so. */
  isExpired: boolean;
}

/** The session that is not over, if there is one. */
export interface ActiveSession {
  server: string;
  boot: string;
  connection: string;
  state: "reserved" | "live" | "reconnecting";
  /** A reservation is in force. */
  isReserved: boolean;
  /** Null where no claimant was admitted before it came. */
  claimedAt: Date | null;
}

export interface Claimant {
  server: string;
  boot: string;
  /** The server cannot tell: its connection ids alone tell one boot from the next, and boots are numbers. */
  isBootDerived: boolean;
  connection: string;
  /** Whose session the stream's policy lets it end. */
  mayOust: "any" | "other servers";
  /** When it was admitted, where that was while the database was away. */
  admittedAt: Date | null;
}

export type ClaimDecision =
  | { kind: "refuse"; reason: Refusal }
  /** A session of its own. */
  | { kind: "begin" }
  /** The same connection asks again. */
  | { kind: "same" }
  /** The encoder is back, or a reservation that nobody started gives way: the session goes on with another connection. */
  | { kind: "resume" }
  /** The active session ends for `reason`, and a new one begins. */
  | { kind: "oust"; reason: "taken_over" | "already_live" };

export function decideClaim(stream: ClaimedStream, active: ActiveSession | null, claimant: Claimant): ClaimDecision {
  const refusal = refusalOf(stream);
  if (refusal !== null) return { kind: "refuse", reason: refusal };
  if (active === null) return { kind: "begin" };
  const waits = active.state === "reconnecting" && !active.isReserved;
  if (isSameConnection(active, claimant)) return { kind: waits ? "resume" : "same" };
  if (isOver(active, claimant) || (active.state !== "live" && !active.isReserved)) return { kind: "resume" };
  // Both were admitted, neither knowing of the other: the earlier one stays.
  if (claimant.admittedAt !== null && active.claimedAt !== null && claimant.admittedAt < active.claimedAt) {
    return { kind: "oust", reason: "already_live" };
  }
  const mayOust = claimant.mayOust === "any" || claimant.server !== active.server;
  if (stream.policy === "takeover" && claimant.admittedAt === null && mayOust)
    return { kind: "oust", reason: "taken_over" };
  return { kind: "refuse", reason: "already_live" };
}

/** Why the stream's key is refused, whoever asks. */
export function refusalOf({ status, isExpired }: Pick<ClaimedStream, "status" | "isExpired">) {
  if (status === "revoked" || status === "disabled" || status === "expired") return status;
  return isExpired ? "expired" : null;
}

function isSameConnection(active: ActiveSession, { server, boot, isBootDerived, connection }: Claimant): boolean {
  return !isBootDerived && active.server === server && active.boot === boot && active.connection === connection;
}

/** Whether the session's connection cannot be there any more, since its media server was started anew. */
function isOver(active: ActiveSession, { server, boot, isBootDerived, connection }: Claimant): boolean {
  if (active.server !== server) return false;
  if (!isBootDerived) return active.boot !== boot;
  // Another stream's encoder may have shown already that this is a later boot.
  return active.connection === connection || Number(active.boot) < Number(boot);
}
