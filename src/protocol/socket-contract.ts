import { z } from "zod";
import { BriefHeartbeatAck, Done, HeartbeatAck, okAck, Refused } from "./acks.ts";
import { Subscribe, Update } from "./dashboard.ts";
import { doc } from "./doc.ts";
import { Acks, DescribedHeartbeats, Heartbeat } from "./heartbeat.ts";
import { CourseProgress, FileProgress, ProgressQuestion, ProgressTarget } from "./progress.ts";
import {
  Admitted,
  MediaServerAuth,
  NotAdmitted,
  Stream,
  StreamDrop,
  StreamEnded,
  StreamStarted,
  StreamStats,
  StreamValidate,
} from "./stream.ts";
import { TokenAuth } from "./token.ts";
import { WireError } from "./wire-error.ts";

/*
 * Every event of every namespace, from which /asyncapi.json is made. A test compares it with the calls that the gateway
 * takes and the events that it sends.
 */

/** A call: a client sends it, and gets one of the acks. */
export interface CallContract {
  summary: string;
  payload: z.ZodType;
  /** Besides `Refused`, with which every call may be answered. */
  acks: z.ZodType[];
}

/** An event that the server sends. */
export interface EventContract {
  summary: string;
  payload: z.ZodType;
}

export interface NamespaceContract {
  description: string;
  /** The `auth` of the handshake. */
  auth: z.ZodType;
  calls: Record<string, CallContract>;
  events: Record<string, EventContract>;
}

const expiresAt = z.string().meta(doc("When the token ends, ISO 8601.", "2026-11-21T15:17:17.000Z"));

const TOKEN_REFRESH: CallContract = {
  summary: "Sends a new token of the same subject before the old one ends",
  payload: TokenAuth,
  acks: [okAck({ expiresAt }).meta(doc("The token was accepted."))],
};

const SESSION_EXPIRING: EventContract = {
  summary: "The token ends soon: answer with `token:refresh`",
  payload: z.object({ expiresAt }),
};

/** The reasons for which the server ends a connection with a word. */
const disconnect = (summary: string, ...codes: [string, ...string[]]): EventContract => ({
  summary,
  payload: z.object({ code: z.enum(codes).meta(doc("Why the connection ends.", codes[0])) }),
});

const EVERYWHERE: Record<string, EventContract> = {
  "server:draining": {
    summary: "The server stops: send what waits, then reconnect after a random share of that time",
    payload: z.object({ reconnectInMs: z.number().meta(doc("The time over which clients reconnect.", 5000)) }),
  },
  problem: {
    summary: "A call came without an ack function, and did nothing",
    payload: z.object({
      event: z.string().meta(doc("The event that was sent.", "heartbeat")),
      error: WireError,
    }),
  },
};

const streamAck = okAck({ stream: Stream }).meta(doc("The stream as it is now."));

/** The namespaces and their events. */
export const SOCKET_CONTRACT: Record<"/player" | "/dashboard" | "/rtmp", NamespaceContract> = {
  "/player": {
    description: "Players send heartbeats, and get their user's own progress.",
    auth: TokenAuth.extend({ acks: Acks }),
    calls: {
      heartbeat: {
        summary: "Tells where the player is, and what it has played",
        payload: Heartbeat,
        acks: [HeartbeatAck, BriefHeartbeatAck],
      },
      heartbeats: {
        summary: "Sends the beats that a player kept while it was offline",
        payload: DescribedHeartbeats,
        acks: [
          okAck({
            results: z
              .array(z.union([HeartbeatAck, BriefHeartbeatAck, Refused]).meta(doc("The ack of one beat.")))
              .meta(doc("The results, in the order of the beats.")),
          }).meta(doc("What became of each beat.")),
        ],
      },
      "progress:get": {
        summary: "Reads the progress of the user in a file or a course",
        payload: ProgressQuestion,
        acks: [
          okAck({
            progress: z.union([FileProgress, CourseProgress]).meta(doc("Of the file, or of the course.")),
          }).meta(doc("The progress.")),
        ],
      },
      "progress:reset": {
        summary: "Sets the progress in a file or a course to zero, under a new epoch",
        payload: ProgressTarget,
        acks: [Done],
      },
      "token:refresh": TOKEN_REFRESH,
    },
    events: {
      progress: {
        summary: "The progress of a file changed elsewhere: by another device, or a reset",
        payload: FileProgress,
      },
      "server:disconnect": disconnect("The connection ends, because the user was deleted", "unauthenticated"),
      "session:expiring": SESSION_EXPIRING,
      ...EVERYWHERE,
    },
  },
  "/dashboard": {
    description: "Dashboards watch topics: learners, courses, lessons, files and streams.",
    auth: TokenAuth,
    calls: {
      subscribe: {
        summary: "Watches a topic from now on",
        payload: Subscribe,
        acks: [
          okAck({ topic: Subscribe.shape.topic, snapshot: Update }).meta(doc("The state of the topic; frames follow.")),
        ],
      },
      unsubscribe: { summary: "Stops watching a topic", payload: Subscribe, acks: [Done] },
      "token:refresh": TOKEN_REFRESH,
    },
    events: {
      update: { summary: "A frame of a topic: what has changed", payload: Update },
      unsubscribed: {
        summary: "A topic ended: it may no longer be watched, or what it showed was deleted",
        payload: z.object({ topic: Subscribe.shape.topic, error: WireError }),
      },
      "server:disconnect": disconnect(
        "The connection ends, because too much has waited unread (this event may not arrive), or the user was deleted",
        "slow_consumer",
        "unauthenticated",
      ),
      "session:expiring": SESSION_EXPIRING,
      ...EVERYWHERE,
    },
  },
  "/rtmp": {
    description: "Media servers ask whether a stream key may publish, and report about the stream.",
    auth: MediaServerAuth,
    calls: {
      "stream:validate": {
        summary: "Asks whether an encoder may publish",
        payload: StreamValidate,
        acks: [
          okAck(Admitted.shape).meta(doc("The encoder may publish.")),
          okAck(NotAdmitted.shape).meta(doc("The encoder may not publish.")),
        ],
      },
      "stream:started": { summary: "The media flows", payload: StreamStarted, acks: [streamAck] },
      "stream:stats": { summary: "Reports figures, and renews the lease", payload: StreamStats, acks: [Done] },
      "stream:ended": { summary: "The encoder is gone", payload: StreamEnded, acks: [streamAck] },
    },
    events: {
      "stream:drop": { summary: "End this session's connection", payload: StreamDrop },
      ...EVERYWHERE,
    },
  },
};

/** The answers to a handshake. */
export const Connected = z.object({
  sid: z.string().meta(doc("The id of the socket in this namespace.", "wZX3oN0bSVIhsaknAAAI")),
});
export const ConnectError = z.object({
  message: z.string().meta(doc("Why the handshake was refused, for people.", "The token has expired.")),
  data: WireError,
});
