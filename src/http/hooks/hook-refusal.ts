import { AppError } from "../../errors.ts";
import type { Refusal } from "../../protocol/stream.ts";

/** Why a publisher is refused or cut, as the media server's log is to say it. */
export const REFUSAL_TEXTS: Record<Refusal, string> = {
  unknown: "The stream key is not known.",
  expired: "The stream key has expired.",
  revoked: "The stream key was revoked.",
  disabled: "The stream is disabled.",
  already_live: "The stream is already live from another encoder.",
};

export function toForbidden(reason: Refusal): AppError {
  return new AppError("forbidden", REFUSAL_TEXTS[reason]);
}
