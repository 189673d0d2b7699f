import type { DropReason, Refusal, Stream } from "../../protocol/stream.ts";

/*
 * What is asked of a stream for a connection, and what comes of it.
 */

/** Whose session it is to be. */
export interface Claim {
  /** The id that the media server will know the session by, made by who asks. */
  sessionId: string;
  streamId: string;
  keyHash: Buffer;
  server: string;
  boot: string | null;
  connection: string;
  app: string | null;
  clientIp: string | null;
  protocol: string | null;
  /** How long it lives without a report once it has started. */
  leaseSeconds: number;
  /** Approval is the start. */
  starts: boolean;
  /** When it was admitted while the database was away, by `performance.now()`: how long it waits for a connection since counts, too. */
  admittedAt?: number;
  /** Whose session it may end by the stream's policy: not one of its own server where that cannot be made to let go. */
  mayOust: "any" | "other servers";
  /** Nobody waits for the answer any more: then nothing is claimed. */
  signal?: AbortSignal;
}

export type ClaimResult =
  | { valid: true; sessionId: string; stream: Stream; lifetimeMs: number; ousted: Drop | null }
  /** `unknown`: the key is not, or no longer, this stream's. */
  | { valid: false; reason: Refusal };

/** What a media server is to be told to drop. */
export interface Drop {
  server: string;
  boot: string;
  connection: string;
  sessionId: string;
  reason: DropReason;
}
