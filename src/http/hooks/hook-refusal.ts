import { AppError } from "../../errors.ts";
import type { Refusal } from "../../protocol/stream.ts";

/** Why a publisher is refused or ended, in the words for the media server's log. */
export const REFUSAL_TEXTS: Record<Refusal, string> = {
  unknown: "The stream key is not known.",
  expired: "The stream key has expired.",
  revoked: "The stream key was revoked.",
  disabled: "The stream is disabled.",
  already_live: "The stream is already live from another encoder.",
};

/** The refusal as an error: 403. */
export function toForbidden(reason: Refusal): AppError {
  return new AppError("forbidden", REFUSAL_TEXTS[reason]);
}
