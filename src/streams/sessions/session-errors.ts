import { AppError } from "../../errors.ts";

/*
 * What a media server is told when a session cannot do what was asked.
 */

export function noSuchSession(): AppError {
  return new AppError(
    "not_found",
    "This server has no such session: either it never had, or nobody started it in time. Validate the key again.",
  );
}

export function hasEnded(): AppError {
  return new AppError("conflict", "The session has ended; an encoder that comes back is validated again.");
}

export function notStarted(): AppError {
  return new AppError("conflict", "The session has not started; send `stream:started` first.");
}
