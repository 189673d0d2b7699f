import { z } from "zod";
import { Id, isStorableText, Title } from "./ids.ts";

/*
 * Streams, and what a media server and Playhead say to each other about them. A stream key goes one way only: from
 * the encoder, by the media server, to Playhead; no answer carries it but the one that makes it.
 */

/**
 * What a stream's status may be. The first four follow its sessions; the last three are set, and refuse its key.
 *
 *   ready ──▶ live ⇄ reconnecting ──▶ ended ──▶ live …      expired, revoked, disabled: from anywhere
 */
export const STREAM_STATUSES = ["ready", "live", "reconnecting", "ended", "expired", "revoked", "disabled"] as const;
export type StreamStatus = (typeof STREAM_STATUSES)[number];

/** A stream as everybody may see it; never the key. */
export interface Stream {
  id: string;
  userId: string;
  title: string;
  status: StreamStatus;
  /** The first characters of the key, to tell keys apart. */
  keyPrefix: string;
  /** As the media server reported last; null while nothing is live. */
  bitrateKbps: number | null;
  viewers: number | null;
  /** ISO 8601; null where the key never expires. */
  expiresAt: string | null;
  /** Of the last session, or the one that is on. */
  startedAt: string | null;
  endedAt: string | null;
  version: number;
}

/** What a second encoder with a live key meets: it is refused, or it takes the stream over. */
export const SESSION_POLICIES = ["first_wins", "takeover"] as const;
export type SessionPolicy = (typeof SESSION_POLICIES)[number];

export const MAX_RECONNECT_SECONDS = 1800;

/** Any text that may be a key; only a look-up tells whether it is one. As long as the reference table allows. */
export const StreamKey = z.string().min(1).max(255);

const ReconnectSeconds = z.number().int().min(0).max(MAX_RECONNECT_SECONDS);
const Expiry = z.iso.datetime({ offset: true });

/** What an owner may set. `reconnectWindowSeconds: null` means the server's default. */
const StreamSettings = z.object({
  title: Title,
  expiresAt: Expiry.nullable().optional(),
  policy: z.enum(SESSION_POLICIES).optional(),
  reconnectWindowSeconds: ReconnectSeconds.nullable().optional(),
});

/** `userId`, by an admin: whose stream it is to be. */
export const CreateStream = StreamSettings.extend({ userId: Id.optional() });
export type CreateStream = z.infer<typeof CreateStream>;

export const ChangeStream = StreamSettings.partial();
export type ChangeStream = z.infer<typeof ChangeStream>;

export const MAX_GRACE_SECONDS = 24 * 3600;
/** For so long the old key is good beside the new one; not at all unless asked. */
export const RotateStream = z.object({ graceSeconds: z.number().int().min(0).max(MAX_GRACE_SECONDS).default(0) });

/** What an owner sees of a stream: how it is set, beside what everybody sees. */
export interface OwnStream extends Stream {
  policy: SessionPolicy;
  reconnectWindowSeconds: number;
  /** Until when the key before the last rotation is still good; null where it is not. */
  previousKeyUntil: string | null;
  createdAt: string;
}

/** One publication, reconnects within the window included. */
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
  /** How often an encoder connected: 1 and its reconnects. */
  connections: number;
  peakViewers: number | null;
  meanBitrateKbps: number | null;
  /** Admitted while the database was away. */
  provisional: boolean;
}

/** Why a key may not publish now. */
export const REFUSALS = ["unknown", "expired", "revoked", "disabled", "already_live"] as const;
export type Refusal = (typeof REFUSALS)[number];

/** Why a session that was on has to end: what became of its stream, or who took its place. */
export type DropReason = "expired" | "revoked" | "disabled" | "already_live" | "taken_over" | "ended";

/** Tells a media server to end a session's connection. */
export interface StreamDrop {
  sessionId: string;
  reason: DropReason;
}

/** A short text that is stored; empty where the media server has nothing to say. */
const label = (max: number) =>
  z.string().max(max).refine(isStorableText, { error: "expected no U+0000 and no lone surrogate" });

/** Identifies the media server; one that does not give its name counts as another with every connection. */
export const MediaServerAuth = z.object({
  secret: z.string().min(1).max(1024),
  server: Id.optional(),
  boot: Id.optional(),
});

export const StreamValidate = z.object({
  streamKey: StreamKey,
  connectionId: Id,
  app: label(128).optional(),
  clientIp: label(64).optional(),
  protocol: label(32).optional(),
});
export type StreamValidate = z.infer<typeof StreamValidate>;

const SessionId = z.string().min(1).max(128);

export const StreamStarted = z.object({ sessionId: SessionId });

/** What a media server measures: kbit/s and viewers as they are now, media time in milliseconds. */
export const StreamFigures = z.object({
  bitrateKbps: z.number().min(0).max(10_000_000).optional(),
  viewers: z.number().int().min(0).max(1_000_000_000).optional(),
  mediaTimeMs: z.number().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
});
export type StreamFigures = z.infer<typeof StreamFigures>;

export const StreamStats = StreamFigures.extend({ sessionId: SessionId });

export const StreamEnded = z.object({ sessionId: SessionId, reason: label(200).optional() });

/** The answer to `stream:validate`. `lifetimeMs`: after so long the key expires; 0 where it never does. */
export type Verdict =
  | { valid: true; stream: Stream; sessionId: string; lifetimeMs: number }
  | { valid: false; reason: Refusal };
