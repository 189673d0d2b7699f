import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../client/clock.ts";
import type { Ack } from "../protocol/ack.ts";
import type { Refusal, Stream, StreamValidate, Verdict } from "../protocol/stream.ts";
import { createPublishSession, type KeptSession, type PublishSession } from "./publish-session.ts";
import { createRtmpConnection, type RtmpProblem } from "./rtmp-connection.ts";

/*
 * What any media server on Node asks and tells Playhead. A stream key lives here as long as its question; it is
 * neither logged nor kept.
 */

const DEFAULT_ANSWER_TIMEOUT_MS = 5000;
const DEFAULT_REPORT_INTERVAL_MS = 10_000;
/** For the ends of what was on, at `close`. */
const CLOSE_WITHIN_MS = 2000;

export interface RtmpClientOptions {
  /** Where Playhead is, such as `https://progress.example.org`. */
  url: string;
  /** One of the server's `RTMP_SECRETS`. */
  secret: string;
  /** This media server's name, the same after a restart and no other's: 1 to 128 characters. */
  server: string;
  /** This run of the media server; by default an id made once for the process. Connection ids may begin anew with it. */
  boot?: string;
  /** How long an answer may take, in milliseconds; 5,000 by default. After that a key is refused. */
  answerTimeoutMs?: number;
  /** How often a session that is on reports and renews its lease, in milliseconds; 10,000 by default. A third of the server's `STREAM_LEASE_SECONDS` is right. */
  reportIntervalMs?: number;
  /** Told when the connection cannot be made, once per change of the cause; attempts go on. By default a warning of the process. */
  onProblem?: (problem: RtmpProblem) => void;
  /** For tests. */
  clock?: Clock;
}

/** An encoder that wants to publish. `connectionId`: the media server's own id of its connection. */
export type ValidateRequest = StreamValidate;

/**
 * Why a key may not publish now: the server's refusal; `rate_limited` after too many wrong keys; `bad_request` for what
 * cannot be asked (a key over 255 characters); `unreachable` where Playhead gave no answer in time or cannot tell.
 */
export type Denial = Refusal | "rate_limited" | "bad_request" | "unreachable";

/** `lifetimeMs`: after so long the key expires, and the session is dropped; 0 where it never does. */
export type Validation =
  | { valid: true; session: PublishSession; stream: Stream; lifetimeMs: number }
  | { valid: false; reason: Denial };

export interface RtmpClient {
  /** Whether Playhead can be asked right now. */
  readonly connected: boolean;
  readonly reportIntervalMs: number;
  /**
   * Whether the key may publish now. Never rejects: what cannot be told in time is `unreachable`, and the encoder is to
   * be refused. Without a connection it waits for one, within the same time.
   */
  validate(request: ValidateRequest): Promise<Validation>;
  /** Ends what is on and refuses what is asked; resolves when the server took the ends, after 2 s at the latest. */
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

  /** The encoder has been refused meanwhile: its reservation must not keep it out when it tries again. */
  function giveBack(ack: Ack<Verdict>): void {
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
        onLate: giveBack,
      });
      // No answer and time left: the connection broke. Asked again, the server gives the same session.
      if (ack === null) continue;
      if (!closed) return judge(ack);
      giveBack(ack);
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

/** What is asked and nothing else that the object may carry. */
function toPayload({ streamKey, connectionId, app, clientIp, protocol }: ValidateRequest): object {
  return { streamKey, connectionId, app, clientIp, protocol };
}

function warn(problem: RtmpProblem): void {
  process.emitWarning(problem.message, { type: "PlayheadWarning", code: problem.cause });
}
