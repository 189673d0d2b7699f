import { type OwnStream, SESSION_POLICIES, STREAM_STATUSES, type StreamSession } from "../../protocol/stream.ts";
import { z } from "../router.ts";

/*
 * The answers about streams. Only the answer that makes a key contains it.
 */

export const StreamSchema = z
  .object({
    id: z.string(),
    userId: z.string(),
    title: z.string(),
    status: z.enum(STREAM_STATUSES),
    keyPrefix: z.string(),
    bitrateKbps: z.number().nullable(),
    viewers: z.number().nullable(),
    expiresAt: z.string().nullable(),
    startedAt: z.string().nullable(),
    endedAt: z.string().nullable(),
    version: z.number(),
    policy: z.enum(SESSION_POLICIES),
    reconnectWindowSeconds: z.number(),
    previousKeyUntil: z.string().nullable(),
    createdAt: z.string(),
  })
  .meta({ id: "OwnStream" }) satisfies z.ZodType<OwnStream>;

const SessionSchema = z
  .object({
    id: z.number(),
    state: z.enum(["reserved", "live", "reconnecting", "ended"]),
    server: z.string(),
    app: z.string().nullable(),
    clientIp: z.string().nullable(),
    protocol: z.string().nullable(),
    startedAt: z.string().nullable(),
    endedAt: z.string().nullable(),
    endReason: z.string().nullable(),
    durationSeconds: z.number().nullable(),
    connections: z.number(),
    peakViewers: z.number().nullable(),
    meanBitrateKbps: z.number().nullable(),
    provisional: z.boolean(),
  })
  .meta({ id: "StreamSession" }) satisfies z.ZodType<StreamSession>;

export const StreamAnswer = z.object({ stream: StreamSchema }).meta({ id: "StreamAnswer" });
export const KeyAnswer = z.object({ stream: StreamSchema, streamKey: z.string() }).meta({ id: "StreamWithKey" });
export const StreamList = z
  .object({
    streams: z.array(StreamSchema),
    /** The `after` of the next page; absent on the last. */
    next: z.string().optional(),
  })
  .meta({ id: "StreamList" });
export const SessionList = z
  .object({
    sessions: z.array(SessionSchema),
    /** The `before` of the next page; absent on the last. */
    next: z.number().optional(),
  })
  .meta({ id: "StreamSessionList" });

/** Drops every field that the schema does not declare, so that no answer contains more than it should. */
export function toAnswer(stream: OwnStream): OwnStream {
  return StreamSchema.parse(stream);
}
