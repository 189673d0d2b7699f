import type { Clock } from "../client/clock.ts";
import { createListeners } from "../client/listeners.ts";
import type { ErrorCode } from "../errors.ts";
import type { Ack } from "../protocol/ack.ts";
import type { DropReason, StreamFigures } from "../protocol/stream.ts";
import { backoffMs, type RtmpConnection } from "./rtmp-connection.ts";

/*
 * One encoder's publication, as the media server reports it to Playhead.
 *
 *   reserved ──started()──▶ starting ──Playhead acknowledges──▶ live
 *   reserved, starting, live ──ended()──▶ ending ──Playhead acknowledges, or knows no such session──▶ over
 *   reserved, starting, live ──dropped──▶ over
 *
 * The start and the end are sent again until Playhead acknowledges them, in this order. Figures are not sent again: the
 * next ones are newer.
 */

/** One admitted publication. Its methods neither throw nor wait, and work without a connection. */
export interface PublishSession {
  readonly sessionId: string;
  /** Why the session must end; null while it may go on. */
  readonly dropped: DropReason | null;
  /** Tells Playhead that media flows. Without this call the reservation lapses after 10 s. A second call does nothing. */
  started(): void;
  /** Sets figures for the next report. The session sends a report every `reportIntervalMs` by itself. */
  report(figures: StreamFigures): void;
  /** Tells Playhead that the encoder is gone. `reason` appears in the stream's history. */
  ended(reason?: string): void;
  /**
   * Calls the listener once when the session must end: cut the encoder's connection then. If the session was dropped
   * already, calls it at once.
   * @returns a function that removes the listener
   */
  onDrop(listener: (reason: DropReason) => void): () => void;
}

export interface PublishSessionParts {
  connection: Pick<RtmpConnection, "connected" | "call" | "onConnected">;
  clock: Clock;
}

export interface PublishSessionOptions {
  sessionId: string;
  /** How long until the key expires; 0 if it never does. */
  lifetimeMs: number;
  answerTimeoutMs: number;
  reportIntervalMs: number;
  /** Called when nothing more will be sent for the session. */
  onOver(): void;
}

/** A session with the two methods that only its client calls. */
export interface KeptSession extends PublishSession {
  drop(reason: DropReason): void;
  /** Ends the session without telling anybody. */
  forget(): void;
}

interface Message {
  event: "stream:started" | "stream:ended";
  payload: object;
}

/** The longest delay of a timer. With a longer one it would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** Errors that a repeated message would get again. */
const FINAL: ReadonlySet<ErrorCode> = new Set(["not_found", "conflict", "bad_request"]);
/** Playhead's limit for the reason of an end, in characters. */
const MAX_REASON_CHARACTERS = 200;

export function createPublishSession(parts: PublishSessionParts, options: PublishSessionOptions): KeptSession {
  const { connection, clock } = parts;
  const { sessionId, answerTimeoutMs, reportIntervalMs } = options;
  const listeners = createListeners<{ drop: [DropReason] }>();
  let state: "reserved" | "starting" | "live" | "ending" | "over" = "reserved";
  let dropped: DropReason | null = null;
  /** Messages without an acknowledgement. Only the first one is under way. */
  const outbox: Message[] = [];
  let sending = false;
  let attempts = 0;
  let figures: StreamFigures = {};
  let cancelRetry = () => {};
  let cancelReport = () => {};
  const cancelExpiry = options.lifetimeMs > 0 ? afterLong(clock, options.lifetimeMs, () => drop("expired")) : () => {};
  const stopListening = connection.onConnected(() => {
    attempts = 0;
    deliver();
    // The lease may be about to lapse.
    if (state === "live") void sendReport();
  });

  function finish(): void {
    state = "over";
    outbox.length = 0;
    for (const stop of [cancelRetry, cancelReport, cancelExpiry, stopListening]) stop();
    options.onOver();
  }

  function drop(reason: DropReason): void {
    if (state === "over" || state === "ending") return;
    dropped = reason;
    finish();
    listeners.emit("drop", reason);
  }

  function post(message: Message): void {
    outbox.push(message);
    deliver();
  }

  /** Sends the first message unless it is under way. Without a connection it waits: a new connection calls again. */
  function deliver(): void {
    cancelRetry();
    const [message] = outbox;
    if (message === undefined || sending || !connection.connected) return;
    sending = true;
    void connection.call(message.event, message.payload, { timeoutMs: answerTimeoutMs }).then((ack) => {
      sending = false;
      settle(message, ack);
    });
  }

  function settle(message: Message, ack: Ack | null): void {
    if (state === "over") return;
    if (ack !== null && !ack.ok && FINAL.has(ack.error.code)) {
      if (state === "ending") finish();
      else drop("ended");
    } else if (ack?.ok) {
      onAcknowledged(message);
    } else {
      cancelRetry = clock.after(ack?.error.retryAfterMs ?? backoffMs(attempts++), deliver);
    }
  }

  function onAcknowledged(message: Message): void {
    attempts = 0;
    outbox.shift();
    if (state === "starting") {
      state = "live";
      scheduleReport();
    }
    if (message.event === "stream:ended") finish();
    else deliver();
  }

  function scheduleReport(): void {
    cancelReport();
    cancelReport = clock.after(reportIntervalMs, () => void sendReport());
  }

  async function sendReport(): Promise<void> {
    scheduleReport();
    if (!connection.connected) return;
    const measured = figures;
    figures = {};
    let ack = await connection.call("stream:stats", { sessionId, ...measured }, { timeoutMs: answerTimeoutMs });
    // An invalid figure must not cost the stream its lease.
    if (isRefused(ack, "bad_request")) {
      ack = await connection.call("stream:stats", { sessionId }, { timeoutMs: answerTimeoutMs });
    }
    if (isRefused(ack, "not_found") || isRefused(ack, "conflict")) drop("ended");
  }

  return {
    sessionId,
    get dropped() {
      return dropped;
    },
    started() {
      if (state !== "reserved") return;
      state = "starting";
      post({ event: "stream:started", payload: { sessionId } });
    },
    report(measured) {
      figures = { ...figures, ...measured };
    },
    ended(reason) {
      if (state === "over" || state === "ending") return;
      state = "ending";
      cancelReport();
      cancelExpiry();
      const told = reason === undefined ? {} : { reason: reason.slice(0, MAX_REASON_CHARACTERS) };
      post({ event: "stream:ended", payload: { sessionId, ...told } });
    },
    onDrop(listener) {
      const stop = listeners.on("drop", listener);
      // Dropped before the caller could add this listener.
      if (dropped !== null) listener(dropped);
      return stop;
    },
    drop,
    forget() {
      if (state !== "over") finish();
    },
  };
}

function isRefused(ack: Ack | null, code: ErrorCode): boolean {
  return ack !== null && !ack.ok && ack.error.code === code;
}

/** Runs once after `ms`, which may be years. @returns a function that cancels it */
function afterLong(clock: Clock, ms: number, run: () => void): () => void {
  const dueMs = clock.monotonicMs() + ms;
  let cancel = () => {};
  const wait = () => {
    const leftMs = dueMs - clock.monotonicMs();
    cancel = leftMs <= LONGEST_TIMER_MS ? clock.after(Math.max(0, leftMs), run) : clock.after(LONGEST_TIMER_MS, wait);
  };
  wait();
  return () => cancel();
}
