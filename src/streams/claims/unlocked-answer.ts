import { refusalOf } from "../keys/key-refusal.ts";
import type { Claim, ClaimResult } from "./claim.ts";
import { decideClaim } from "./claim-decision.ts";
import type { FoundStream } from "./claim-look-up-sql.ts";

/**
 * Answers a claim that changes nothing: a refusal, or a live session's own connection that asks again. The look-up was
 * true while the caller waited, so no lock is needed. Null where the claim has to be decided under the stream's lock.
 */
export function answerUnlocked(
  { known, isExpired, lifetimeMs, active }: FoundStream,
  { server, boot, connection, mayOust, starts }: Pick<Claim, "server" | "boot" | "connection" | "mayOust" | "starts">,
): ClaimResult | null {
  const { stream, policy } = known;
  const refusal = refusalOf({ status: stream.status, isExpired });
  if (refusal !== null) return { valid: false, reason: refusal };
  // Which boot a claim without one belongs to depends on the media server's other sessions.
  if (boot === null || active === null) return null;
  const claimant = { server, boot, connection, mayOust, isBootDerived: false, admittedAt: null };
  const decision = decideClaim({ status: stream.status, policy, isExpired }, active, claimant);
  if (decision.kind === "refuse") return { valid: false, reason: decision.reason };
  if (decision.kind !== "same" || active.state !== "live" || starts) return null;
  return { valid: true, sessionId: active.sessionId, stream, lifetimeMs, ousted: null };
}
