import type { ChangeStream, CreateStream, OwnStream, StreamSession } from "../protocol/stream.ts";

/*
 * Streams as their owners keep them. Who may do what is decided by the caller's side.
 */

/** A new key; this answer is the only place where it ever stands. */
export interface NewKey {
  stream: OwnStream;
  streamKey: string;
}

/** All throw AppError `not_found` for a stream that is not there, and `unavailable` while the database is away. */
export interface StreamService {
  /** @throws AppError `conflict` past the owner's limit, `bad_request` for an expiry that is past */
  create(settings: CreateStream & { userId: string }): Promise<NewKey>;
  /** In the order of their ids; of one owner, or of all. */
  list(page: { limit: number; after?: string; userId?: string }): Promise<OwnStream[]>;
  get(streamId: string): Promise<OwnStream>;
  change(streamId: string, settings: ChangeStream): Promise<OwnStream>;
  /** A new key, and the old one is good for no longer than `graceSeconds`. What is live goes on. A revoked stream is ready again. */
  rotate(streamId: string, graceSeconds: number): Promise<NewKey>;
  /** The key is good no more and what is live ends; only `rotate` brings the stream back. */
  revoke(streamId: string): Promise<OwnStream>;
  /** What is live ends, and the key is refused until `enable`. @throws AppError `conflict` for a revoked or expired one */
  disable(streamId: string): Promise<OwnStream>;
  /** @throws AppError `conflict` for a revoked or expired one */
  enable(streamId: string): Promise<OwnStream>;
  /** Deletes the stream with its history. @throws AppError `conflict` while it is live or reconnecting */
  remove(streamId: string): Promise<void>;
  /** The newest first; `before` is the last id of the page before. */
  sessions(streamId: string, page: { limit: number; before?: number }): Promise<StreamSession[]>;
}
