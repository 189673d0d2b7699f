import type { Refusal, SessionPolicy, StreamStatus } from "../../protocol/stream.ts";
import { refusalOf } from "../keys/key-refusal.ts";
import { isOfServer } from "../server-identity.ts";

/*
 * The rules that say who gets a stream. They know nothing of how sessions are stored. The caller holds the stream's
 * lock, so a decision is still true when it is written.
 */

/** The stream now, by the database's clock. */
export interface ClaimedStream {
  status: StreamStatus;
  policy: SessionPolicy;
  /** The key has expired, whether or not the status says so yet. */
  isExpired: boolean;
}

/** The stream's session that has not ended. */
export interface ActiveSession {
  server: string;
  boot: string;
  connection: string;
  state: "reserved" | "live" | "reconnecting";
  /** A reservation of this session is in force. */
  isReserved: boolean;
  /** Compared with `Claimant.admittedAt` alone; null where no claimant has one. */
  claimedAt: Date | null;
}

export interface Claimant {
  server: string;
  boot: string;
  /** The media server cannot tell its boots apart: boots are numbers, derived from the connection ids that it uses again. */
  isBootDerived: boolean;
  connection: string;
  /** Whose session the claimant may end under the policy `takeover`; `nobody`, not even as the earlier one, once it is gone itself. */
  mayOust: "any" | "other servers" | "nobody";
  /** When it was admitted while the database was away; null where the database was there. */
  admittedAt: Date | null;
}

export type ClaimDecision =
  | { kind: "refuse"; reason: Refusal }
  /** A new session begins. */
  | { kind: "begin" }
  /** The connection that holds the session asks again. */
  | { kind: "same" }
  /** The session goes on with another connection: its encoder is back, or nobody started its reservation in time. */
  | { kind: "resume" }
  /** The active session ends for `reason`, and a new one begins. */
  | { kind: "oust"; reason: "taken_over" | "already_live" };

export function decideClaim(stream: ClaimedStream, active: ActiveSession | null, claimant: Claimant): ClaimDecision {
  const refusal = refusalOf(stream);
  if (refusal !== null) return { kind: "refuse", reason: refusal };
  if (active === null) return { kind: "begin" };
  const waits = active.state === "reconnecting" && !active.isReserved;
  if (isSameConnection(active, claimant)) return { kind: waits ? "resume" : "same" };
  if (isGone(active, claimant) || (active.state !== "live" && !active.isReserved)) return { kind: "resume" };
  if (claimant.mayOust === "nobody") return { kind: "refuse", reason: "already_live" };
  // Both were admitted without knowing of each other: the earlier one stays.
  if (claimant.admittedAt !== null && active.claimedAt !== null && claimant.admittedAt < active.claimedAt) {
    return { kind: "oust", reason: "already_live" };
  }
  const mayOust = claimant.mayOust === "any" || !isOfServer(active.server, claimant.server);
  if (stream.policy === "takeover" && claimant.admittedAt === null && mayOust)
    return { kind: "oust", reason: "taken_over" };
  return { kind: "refuse", reason: "already_live" };
}

function isSameConnection(active: ActiveSession, { server, boot, isBootDerived, connection }: Claimant): boolean {
  return (
    !isBootDerived && isOfServer(active.server, server) && active.boot === boot && active.connection === connection
  );
}

/** The session's connection cannot exist any more, because its media server has restarted. */
function isGone(active: ActiveSession, { server, boot, isBootDerived, connection }: Claimant): boolean {
  if (!isOfServer(active.server, server)) return false;
  if (!isBootDerived) return active.boot !== boot;
  // The claimant's boot may be later because of another stream's encoder.
  return active.connection === connection || Number(active.boot) < Number(boot);
}
