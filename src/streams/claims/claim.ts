import type { Refusal, Stream } from "../../protocol/stream.ts";
import type { SessionDrop } from "../sessions/session-drop.ts";

/*
 * A claim asks for a stream on behalf of an encoder's connection. Its result is a session, or a refusal.
 */

export interface Claim {
  /** The session's id, made by the caller. Its media server knows the session by this id. */
  sessionId: string;
  streamId: string;
  /** SHA-256 of the stream key that the encoder sent. */
  keyHash: Buffer;
  server: string;
  /** Null where the media server cannot tell one of its runs from the next. */
  boot: string | null;
  connection: string;
  app: string | null;
  clientIp: string | null;
  protocol: string | null;
  /** Once started, the session lives for so long without a report. */
  leaseSeconds: number;
  /** The session starts with the claim; no `start` follows. */
  starts: boolean;
  /**
   * When the connection was admitted while the database was away, by `performance.now()`. Its age is subtracted from
   * the database's clock at the write, so waiting for a database connection does not make the claim look younger.
   */
  admittedAt?: number;
  /**
   * Whose session this claim may end under the policy `takeover`. `other servers` where the media server cannot drop a
   * publisher, `nobody` where the claiming connection is gone already.
   */
  mayOust: "any" | "other servers" | "nobody";
  /** Aborted when nobody waits for the answer any more. Then nothing is claimed. */
  signal?: AbortSignal;
}

export type ClaimResult =
  | { valid: true; sessionId: string; stream: Stream; lifetimeMs: number; ousted: SessionDrop | null }
  /** `unknown`: the key is not, or no longer, this stream's. */
  | { valid: false; reason: Refusal };
