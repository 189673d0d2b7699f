import { z } from "zod";
import { doc } from "./doc.ts";
import { Id, NewUserId, Text, Title } from "./ids.ts";
import { Instant } from "./numbers.ts";
import type * as Wire from "./wire.ts";

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
] as const satisfies readonly Wire.StreamStatus[];
export type Stream = Wire.Stream;
export type StreamStatus = Wire.StreamStatus;

export const EXAMPLE_STREAM_ID = "e32c9a9f-5f0d-4a55-9a3e-0f2b7c1d8e64";
export const EXAMPLE_STREAM_KEY = "phk_mV1x0cExampleExampleExample";
export const EXAMPLE_SESSION_ID = "d5cae1a8-3c8b-4f0e-8f57-2b6a9d1c7e35";

const EXAMPLE_TIME = "2026-11-21T14:17:17.966Z";
const EXAMPLE_END = "2027-01-01T00:00:00.000Z";
const streamTitle = doc("The title, for people.", "Office hours");
const moment = (description: string, example: string | null) => z.string().nullable().meta(doc(description, example));

export const Stream = z
  .object({
    id: z.string().meta(doc("The id of the stream.", EXAMPLE_STREAM_ID)),
    userId: z.string().meta(doc("The owner.", "ines")),
    title: z.string().meta(streamTitle),
    status: z.enum(STREAM_STATUSES).meta(doc("What the stream does now.", "live")),
    keyPrefix: z.string().meta(doc("The first characters of the key, to tell keys apart.", "phk_mV1x0c")),
    bitrateKbps: z.number().nullable().meta(doc("The media server's latest report; null while nothing is live.", 2500)),
    viewers: z.number().nullable().meta(doc("The media server's latest report; null while nothing is live.", 12)),
    expiresAt: moment("When the key ends, ISO 8601; null if it never does.", EXAMPLE_END),
    startedAt: moment("When the current session began, else the last one; null if there was none.", EXAMPLE_TIME),
    endedAt: moment("When the last session ended; null if there was none, or one is live.", null),
    version: z.number().meta(doc("Grows with every change: keep the highest.", 12)),
  })
  .meta({
    id: "Stream",
    ...doc("A stream as everybody may see it. It never contains the key."),
  }) satisfies z.ZodType<Wire.Stream>;

/** What happens when a second encoder comes with the key of a live stream: it is refused, or it takes the stream over. */
export const SESSION_POLICIES = ["first_wins", "takeover"] as const;
export type SessionPolicy = (typeof SESSION_POLICIES)[number];

export const MAX_RECONNECT_SECONDS = 1800;

/** A text that may be a key; only a look-up tells. As long as the reference table allows. */
export const StreamKey = z.string().min(1).max(255);

const ReconnectSeconds = z.number().int().min(0).max(MAX_RECONNECT_SECONDS);

/** The settings that an owner may change. `reconnectWindowSeconds: null` means the server's default. */
const StreamSettings = z.object({
  title: Title.meta(streamTitle),
  expiresAt: Instant.nullable().optional().meta(doc("When the key ends; null: never.", EXAMPLE_END)),
  policy: z
    .enum(SESSION_POLICIES)
    .optional()
    .meta(doc("Whether a second encoder with a live key is refused, or takes over.", "first_wins")),
  reconnectWindowSeconds: ReconnectSeconds.nullable()
    .optional()
    .meta(doc("How long the stream waits for its encoder to come back; null: STREAM_RECONNECT_SECONDS.", 60)),
});

/** An admin may name another owner by `userId`. */
export const CreateStream = StreamSettings.extend({
  userId: NewUserId.optional().meta(doc("The owner; only an admin may name another than itself.", "ines")),
}).meta({ id: "CreateStream", ...doc("A new stream.") });
export type CreateStream = z.infer<typeof CreateStream>;

export const ChangeStream = StreamSettings.extend({ title: Title.optional().meta(streamTitle) }).meta({
  id: "ChangeStream",
  ...doc("The settings to change; the others stay."),
});
export type ChangeStream = z.infer<typeof ChangeStream>;

export const MAX_GRACE_SECONDS = 24 * 3600;
/** How long the old key stays valid beside the new one: by default not at all. */
export const RotateStream = z
  .object({
    graceSeconds: z
      .number()
      .int()
      .min(0)
      .max(MAX_GRACE_SECONDS)
      .default(0)
      .meta(doc("How long the old key stays valid.", 300)),
  })
  .meta({ id: "RotateStream", ...doc("How the key is replaced.") });

/** A stream as its owner sees it: with its settings. */
export interface OwnStream extends Stream {
  policy: SessionPolicy;
  reconnectWindowSeconds: number;
  /** Until when the key before the last rotation stays valid; null if it is not valid any more. */
  previousKeyUntil: string | null;
  createdAt: string;
}

export const OwnStream = Stream.extend({
  policy: z.enum(SESSION_POLICIES).meta(doc("Whether a second encoder is refused, or takes over.", "first_wins")),
  reconnectWindowSeconds: z.number().meta(doc("How long the stream waits for its encoder to come back.", 60)),
  previousKeyUntil: moment("Until when the key before the last rotation stays valid; null if it is not.", null),
  createdAt: z.string().meta(doc("When the stream was made, ISO 8601.", "2026-11-20T09:00:00.000Z")),
}).meta({ id: "OwnStream", ...doc("A stream as its owner sees it.") }) satisfies z.ZodType<OwnStream>;

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

const SESSION_STATES = ["reserved", "live", "reconnecting", "ended"] as const;

export const StreamSession = z
  .object({
    id: z.number().meta(doc("The number of the session.", 7)),
    state: z.enum(SESSION_STATES).meta(doc("What the session does now.", "ended")),
    server: z.string().meta(doc("The media server.", "ingest-1")),
    app: z.string().nullable().meta(doc("The application on the media server; null if it named none.", "live")),
    clientIp: z.string().nullable().meta(doc("The address of the encoder; null if it is not known.", "192.0.2.7")),
    protocol: z.string().nullable().meta(doc("How the encoder publishes; null if it is not known.", "rtmp")),
    startedAt: moment("When the media began to flow, ISO 8601; null if it has not.", EXAMPLE_TIME),
    endedAt: moment(
      "When the media ended; while `reconnecting`, when the connection was lost; null while it flows.",
      "2026-11-21T15:17:17.966Z",
    ),
    endReason: z.string().nullable().meta(doc("Why it ended; null if it has not, or nobody knows.", "unpublished")),
    durationSeconds: z.number().nullable().meta(doc("For how long media flowed; null if none did.", 3600)),
    connections: z.number().meta(doc("How often an encoder connected.", 1)),
    peakViewers: z.number().nullable().meta(doc("The most viewers; null if they were not reported.", 40)),
    meanBitrateKbps: z.number().nullable().meta(doc("The mean bit rate; null if it was not reported.", 2450)),
    provisional: z.boolean().meta(doc("Whether it was admitted while the database was away.", false)),
  })
  .meta({
    id: "StreamSession",
    ...doc("One publication, with its reconnects within the window."),
  }) satisfies z.ZodType<StreamSession>;

/** Why a key may not publish now. */
export const REFUSALS = ["unknown", "expired", "revoked", "disabled", "already_live"] as const;
export type Refusal = (typeof REFUSALS)[number];

/** Why a running session has to end. */
export const DROP_REASONS = ["expired", "revoked", "disabled", "already_live", "taken_over", "ended"] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** Tells a media server to end a session's connection. */
export interface StreamDrop {
  sessionId: string;
  reason: DropReason;
}

const sessionId = doc("The session, as the answer to `stream:validate` named it.", EXAMPLE_SESSION_ID);

export const StreamDrop = z.object({
  sessionId: z.string().meta(sessionId),
  reason: z.enum(DROP_REASONS).meta(doc("Why the session has to end.", "revoked")),
}) satisfies z.ZodType<StreamDrop>;

/** Identifies the media server. A server without a name counts as a new one with every connection. */
export const MediaServerAuth = z.object({
  secret: z.string().min(1).max(1024).meta(doc("One of RTMP_SECRETS.", "a secret of the server")),
  server: Id.optional().meta(
    doc("The name of the media server; without it each connection is another one.", "ingest-1"),
  ),
  boot: Id.optional().meta(doc("An id that changes with every start of the media server.", "2026-11-21T08:00:00Z")),
});

export const StreamValidate = z.object({
  streamKey: StreamKey.meta(doc("The key that the encoder gave.", EXAMPLE_STREAM_KEY)),
  connectionId: Id.meta(doc("The media server's own id of the encoder's connection.", "7")),
  app: Text(128).optional().meta(doc("The application on the media server.", "live")),
  clientIp: Text(64).optional().meta(doc("The address of the encoder.", "192.0.2.7")),
  protocol: Text(32).optional().meta(doc("How the encoder publishes.", "rtmp")),
});
export type StreamValidate = z.infer<typeof StreamValidate>;

const OwnSessionId = Id.meta(sessionId);

export const StreamStarted = z.object({ sessionId: OwnSessionId });

/** The measurements of a media server: the current kbit/s and viewers, and the media time in milliseconds. */
export const StreamFigures = z.object({
  bitrateKbps: z.number().min(0).max(10_000_000).optional().meta(doc("The current bit rate.", 2500)),
  viewers: z.number().int().min(0).max(1_000_000_000).optional().meta(doc("The viewers now.", 12)),
  mediaTimeMs: z
    .number()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .optional()
    .meta(doc("The time of the media, in ms.", 60_000)),
});
export type StreamFigures = z.infer<typeof StreamFigures>;

export const StreamStats = StreamFigures.extend({ sessionId: OwnSessionId });

export const StreamEnded = z.object({
  sessionId: OwnSessionId,
  reason: Text(200).optional().meta(doc("Why the encoder is gone, for the history.", "unpublished")),
});

/** The answer to `stream:validate`. `lifetimeMs`: the time until the key expires; 0 if it never does. */
export type Verdict =
  | { valid: true; stream: Stream; sessionId: string; lifetimeMs: number }
  | { valid: false; reason: Refusal };

export const Admitted = z.object({
  valid: z.literal(true).meta(doc("The encoder may publish.", true)),
  stream: Stream,
  sessionId: z.string().meta(doc("The session, for all further reports.", EXAMPLE_SESSION_ID)),
  lifetimeMs: z.number().meta(doc("The time until the key expires; 0 if it never does.", 0)),
});
export const NotAdmitted = z.object({
  valid: z.literal(false).meta(doc("The encoder may not publish.", false)),
  reason: z.enum(REFUSALS).meta(doc("Why not.", "revoked")),
});
