import type { StreamStatus } from "../../protocol/stream.ts";

/** Why a stream's key is refused, whoever asks with it. */
export type KeyRefusal = "revoked" | "disabled" | "expired";

/** Null where the key is good. `isExpired` counts although the status does not say `expired` yet. */
export function refusalOf({ status, isExpired }: { status: StreamStatus; isExpired: boolean }): KeyRefusal | null {
  if (status === "revoked" || status === "disabled" || status === "expired") return status;
  return isExpired ? "expired" : null;
}
