import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../client/clock.ts";
import type { Ack } from "../protocol/ack.ts";
import type { Refusal, Stream, StreamValidate, Verdict } from "../protocol/stream.ts";
import { createPublishSession, type KeptSession, type PublishSession } from "./publish-session.ts";
import { createRtmpConnection, type RtmpProblem } from "./rtmp-connection.ts";

/*
 * A media server's client: asks Playhead whether a stream key may publish, and keeps the sessions that Playhead
 * admitted. A stream key is held only until its question is answered; it is neither logged nor stored.
 */

const DEFAULT_ANSWER_TIMEOUT_MS = 5000;
const DEFAULT_REPORT_INTERVAL_MS = 10_000;
/** How long `close` waits for Playhead to acknowledge the ends of sessions. */
const CLOSE_WITHIN_MS = 2000;

export interface RtmpClientOptions {
  /** Where Playhead is, such as `https://progress.example.org` or `https://example.org/progress`. */
  url: string;
  /** One of the server's `RTMP_SECRETS`. */
  secret: string;
  /** The media server's name: 1 to 128 characters, unique, and the same after a restart. */
  server: string;
  /** The id of this run of the media server. A new run may use old connection ids again. Default: one id per process. */
  boot?: string;
  /** How long an answer may take, in milliseconds; 5,000 by default. A key without an answer in time is refused. */
  answerTimeoutMs?: number;
  /** How often a live session sends its figures and renews its lease, in milliseconds; 10,000 by default. Choose a third of the server's `STREAM_LEASE_SECONDS`. */
  reportIntervalMs?: number;
  /** Called when the client cannot connect, once per change of the cause; it keeps trying. Default: `process.emitWarning`. */
  onProblem?: (problem: RtmpProblem) => void;
  /** For tests. */
  clock?: Clock;
}

/** An encoder that wants to publish. `connectionId` is the media server's own id for the encoder's connection. */
export type ValidateRequest = StreamValidate;

/**
 * Why a key may not publish now: Playhead's refusal; `rate_limited` after too many wrong keys; `bad_request` for an
 * invalid question (a key over 255 characters); `unreachable` if Playhead does not answer in time or cannot tell.
 */
export type Denial = Refusal | "rate_limited" | "bad_request" | "unreachable";

/** `lifetimeMs`: how long until the key expires and the session is dropped; 0 if it never expires. */
export type Validation =
  | { valid: true; session: PublishSession; stream: Stream; lifetimeMs: number }
  | { valid: false; reason: Denial };

export interface RtmpClient {
  /** Whether there is a connection to Playhead now. */
  readonly connected: boolean;
  readonly reportIntervalMs: number;
  /**
   * Asks whether the key may publish now, and waits for a connection if there is none. Never rejects: without an answer
   * within `answerTimeoutMs` the result is `unreachable`. Refuse the encoder then.
   */
  validate(request: ValidateRequest): Promise<Validation>;
  /** Ends all sessions and refuses all keys. Resolves when Playhead has acknowledged the ends, after 2 s at the latest. */
  close(): Promise<void>;
}

let processBoot: string | undefined;

/** Connects a media server to Playhead's `/rtmp`, and stays connected until `close`. */
export function createRtmpClient(options: RtmpClientOptions): RtmpClient {
  const { url, secret, server, clock = systemClock, onProblem = warn } = options;
  const { answerTimeoutMs = DEFAULT_ANSWER_TIMEOUT_MS, reportIntervalMs = DEFAULT_REPORT_INTERVAL_MS } = options;
  processBoot ??= randomUUID();
  const { boot = processBoot } = options;
  const connection = createRtmpConnection({ clock }, { url, auth: { secret, server, boot } });
  const sessions = new Map<string, KeptSession>();
  let closed = false;
  /** Called when the last session is over. */
  let onLastOver = () => {};

  connection.onProblem(onProblem);
  connection.onDrop(({ sessionId, reason }) => sessions.get(sessionId)?.drop(reason));

  function keep(sessionId: string, lifetimeMs: number): KeptSession {
    const known = sessions.get(sessionId);
    if (known) return known;
    const session: KeptSession = createPublishSession(
      { connection, clock },
      {
        sessionId,
        lifetimeMs,
        answerTimeoutMs,
        reportIntervalMs,
        onOver() {
          if (sessions.get(sessionId) === session) sessions.delete(sessionId);
          if (sessions.size === 0) onLastOver();
        },
      },
    );
    sessions.set(sessionId, session);
    return session;
  }

  function judge(ack: Ack<Verdict>): Validation {
    if (!ack.ok) {
      const { code } = ack.error;
      return { valid: false, reason: code === "rate_limited" || code === "bad_request" ? code : "unreachable" };
    }
    if (ack.valid !== true) return { valid: false, reason: ack.reason ?? "unreachable" };
    const { stream, sessionId, lifetimeMs } = ack;
    return { valid: true, session: keep(sessionId, lifetimeMs), stream, lifetimeMs };
  }

  /** Ends a session whose answer came too late: its encoder was refused, and the reservation would keep it out. */
  function endLateSession(ack: Ack<Verdict>): void {
    const late = judge(ack);
    if (late.valid) late.session.ended("the answer came too late");
  }

  async function validate(request: ValidateRequest): Promise<Validation> {
    const deadlineMs = clock.monotonicMs() + answerTimeoutMs;
    for (;;) {
      const leftMs = deadlineMs - clock.monotonicMs();
      if (closed || leftMs <= 0 || !(await connection.whenConnected(leftMs))) break;
      const timeoutMs = deadlineMs - clock.monotonicMs();
      const ack = await connection.call<Verdict>("stream:validate", toPayload(request), {
        timeoutMs,
        onLate: endLateSession,
      });
      // No answer, but time left: the connection broke. For a repeated question Playhead returns the same session.
      if (ack === null) continue;
      if (!closed) return judge(ack);
      endLateSession(ack);
      break;
    }
    return { valid: false, reason: "unreachable" };
  }

  return {
    reportIntervalMs,
    get connected() {
      return connection.connected;
    },
    validate,
    async close() {
      if (closed) return;
      closed = true;
      const allOver = new Promise<void>((resolve) => {
        onLastOver = resolve;
      });
      for (const session of [...sessions.values()]) session.ended("the media server stopped");
      if (sessions.size > 0 && connection.connected) {
        let cancel = () => {};
        const timeout = new Promise<void>((resolve) => {
          cancel = clock.after(CLOSE_WITHIN_MS, resolve);
        });
        await Promise.race([allOver, timeout]);
        cancel();
      }
      for (const session of [...sessions.values()]) session.forget();
      connection.close();
    },
  };
}

/** The fields of the question. The caller's object may have others. */
function toPayload({ streamKey, connectionId, app, clientIp, protocol }: ValidateRequest): object {
  return { streamKey, connectionId, app, clientIp, protocol };
}

function warn(problem: RtmpProblem): void {
  process.emitWarning(problem.message, { type: "PlayheadWarning", code: problem.cause });
}
