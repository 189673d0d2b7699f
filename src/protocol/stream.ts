import { z } from "zod";
import { Id, NewUserId, Text, Title } from "./ids.ts";
import { Instant } from "./numbers.ts";
import type { Stream, StreamStatus } from "./wire.ts";

/*
 * Streams, and the messages of media servers about them. A stream key goes one way only: from the encoder, by the media
 * server, to Playhead. No answer carries it, except the one that makes the key.
 */

export const STREAM_STATUSES = [
  "ready",
  "live",
  "reconnecting",
  "ended",
  "expired",
  "revoked",
  "disabled",
] as const satisfies readonly StreamStatus[];
export type { Stream, StreamStatus };

/** What happens when a second encoder comes with the key of a live stream: it is refused, or it takes the stream over. */
export const SESSION_POLICIES = ["first_wins", "takeover"] as const;
export type SessionPolicy = (typeof SESSION_POLICIES)[number];

export const MAX_RECONNECT_SECONDS = 1800;

/** A text that may be a key; only a look-up tells. As long as the reference table allows. */
export const StreamKey = z.string().min(1).max(255);

const ReconnectSeconds = z.number().int().min(0).max(MAX_RECONNECT_SECONDS);

/** The settings that an owner may change. `reconnectWindowSeconds: null` means the server's default. */
const StreamSettings = z.object({
  title: Title,
  expiresAt: Instant.nullable().optional(),
  policy: z.enum(SESSION_POLICIES).optional(),
  reconnectWindowSeconds: ReconnectSeconds.nullable().optional(),
});

/** An admin may name another owner by `userId`. */
export const CreateStream = StreamSettings.extend({ userId: NewUserId.optional() });
export type CreateStream = z.infer<typeof CreateStream>;

export const ChangeStream = StreamSettings.partial();
export type ChangeStream = z.infer<typeof ChangeStream>;

export const MAX_GRACE_SECONDS = 24 * 3600;
/** How long the old key stays valid beside the new one: by default not at all. */
export const RotateStream = z.object({ graceSeconds: z.number().int().min(0).max(MAX_GRACE_SECONDS).default(0) });

/** A stream as its owner sees it: with its settings. */
export interface OwnStream extends Stream {
  policy: SessionPolicy;
  reconnectWindowSeconds: number;
  /** Until when the key before the last rotation stays valid; null if it is not valid any more. */
  previousKeyUntil: string | null;
  createdAt: string;
}

/** One publication, including its reconnects within the window. */
export interface StreamSession {
  id: number;
  state: "reserved" | "live" | "reconnecting" | "ended";
  server: string;
  app: string | null;
  clientIp: string | null;
  protocol: string | null;
  startedAt: string | null;
  /** When the media ended; while `reconnecting`, when the connection was lost. */
  endedAt: string | null;
  endReason: string | null;
  durationSeconds: number | null;
  /** How often an encoder connected: 1 + its reconnects. */
  connections: number;
  peakViewers: number | null;
  meanBitrateKbps: number | null;
  /** Whether the session was admitted while the database was away. */
  provisional: boolean;
}

/** Why a key may not publish now. */
export const REFUSALS = ["unknown", "expired", "revoked", "disabled", "already_live"] as const;
export type Refusal = (typeof REFUSALS)[number];

/** Why a running session has to end. */
export type DropReason = "expired" | "revoked" | "disabled" | "already_live" | "taken_over" | "ended";

/** Tells a media server to end a session's connection. */
export interface StreamDrop {
  sessionId: string;
  reason: DropReason;
}

/** Identifies the media server. A server without a name counts as a new one with every connection. */
export const MediaServerAuth = z.object({
  secret: z.string().min(1).max(1024),
  server: Id.optional(),
  boot: Id.optional(),
});

export const StreamValidate = z.object({
  streamKey: StreamKey,
  connectionId: Id,
  app: Text(128).optional(),
  clientIp: Text(64).optional(),
  protocol: Text(32).optional(),
});
export type StreamValidate = z.infer<typeof StreamValidate>;

export const StreamStarted = z.object({ sessionId: Id });

/** The measurements of a media server: the current kbit/s and viewers, and the media time in milliseconds. */
export const StreamFigures = z.object({
  bitrateKbps: z.number().min(0).max(10_000_000).optional(),
  viewers: z.number().int().min(0).max(1_000_000_000).optional(),
  mediaTimeMs: z.number().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
});
export type StreamFigures = z.infer<typeof StreamFigures>;

export const StreamStats = StreamFigures.extend({ sessionId: Id });

export const StreamEnded = z.object({ sessionId: Id, reason: Text(200).optional() });

/** The answer to `stream:validate`. `lifetimeMs`: the time until the key expires; 0 if it never does. */
export type Verdict =
  | { valid: true; stream: Stream; sessionId: string; lifetimeMs: number }
  | { valid: false; reason: Refusal };
