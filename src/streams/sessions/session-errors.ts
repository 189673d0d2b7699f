import { AppError } from "../../errors.ts";

/*
 * What a media server is told of a session that cannot do what was asked of it.
 */

export function noSuchSession(): AppError {
  return new AppError(
    "not_found",
    "This server has no such session: it never had, or nobody started it in time. Validate the key again.",
  );
}

export function isOver(): AppError {
  return new AppError("conflict", "The session has ended; an encoder that comes back is validated again.");
}

export function notStarted(): AppError {
  return new AppError("conflict", "The session has not started; send `stream:started` first.");
}
