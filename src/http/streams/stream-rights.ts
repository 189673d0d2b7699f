import type { Caller } from "../../auth/caller.ts";
import { AppError } from "../../errors.ts";
import type { Role } from "../../protocol/roles.ts";
import type { OwnStream } from "../../protocol/stream.ts";
import type { StreamService } from "../../streams/stream-service.ts";

/**
 * The owner of a stream that the caller makes.
 * @throws AppError `forbidden`
 */
export function toOwner(caller: Caller, userId: string | undefined, roles: readonly Role[]): string {
  if (!roles.includes(caller.role)) throw new AppError("forbidden", "STREAM_ROLES does not let you have streams.");
  if (userId === undefined || userId === caller.userId) return caller.userId;
  if (caller.role === "admin") return userId;
  throw new AppError("forbidden", "Only an admin may make a stream for somebody else.");
}

/**
 * Reads a stream that the caller owns, or any stream for an admin. Nobody else learns that the stream exists.
 * @throws AppError `not_found`
 */
export async function requireOwnStream(streams: StreamService, caller: Caller, streamId: string): Promise<OwnStream> {
  const stream = await streams.get(streamId).catch((error: unknown) => {
    // With the service's own message the caller could tell a missing stream from another user's.
    throw error instanceof AppError && error.code === "not_found" ? noSuchStream() : error;
  });
  if (caller.role !== "admin" && stream.userId !== caller.userId) throw noSuchStream();
  return stream;
}

function noSuchStream(): AppError {
  return new AppError("not_found", "There is no stream of this id.");
}
