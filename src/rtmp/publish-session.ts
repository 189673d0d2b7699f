import type { Clock } from "../client/clock.ts";
import { createListeners } from "../client/listeners.ts";
import type { ErrorCode } from "../errors.ts";
import type { Ack } from "../protocol/ack.ts";
import type { DropReason, StreamFigures } from "../protocol/stream.ts";
import { backoffMs, type RtmpConnection } from "./rtmp-connection.ts";

/*
 * One encoder's publication, as the media server tells of it.
 *
 *   reserved ──started()──▶ starting ──server took it──▶ on
 *   reserved, starting, on ──ended()──▶ ending ──server took it, or knows no such session──▶ over
 *   reserved, starting, on ──dropped──▶ over
 *
 * The start and the end are repeated until they are taken, in this order. Reports are not: the next one is newer.
 */

/** One admitted publication. None of its methods throw, wait, or need a connection. */
export interface PublishSession {
  readonly sessionId: string;
  /** Why it had to end; null as long as it may go on. */
  readonly dropped: DropReason | null;
  /** Media flows now. Without it the reservation lapses after 10 s. Told once; it is repeated until the server took it. */
  started(): void;
  /** What is measured now; goes with the next report. Reports go out by themselves, every `reportIntervalMs`. */
  report(figures: StreamFigures): void;
  /** The encoder is gone. `reason` is for the stream's history. Repeated until the server took it. */
  ended(reason?: string): void;
  /**
   * The session must end now: cut the encoder's connection. Called once; at once where it has happened already.
   * @returns a function that takes the listener off again
   */
  onDrop(listener: (reason: DropReason) => void): () => void;
}

export interface PublishSessionParts {
  connection: Pick<RtmpConnection, "connected" | "call" | "onConnected">;
  clock: Clock;
}

export interface PublishSessionOptions {
  sessionId: string;
  /** 0 where the key never expires. */
  lifetimeMs: number;
  answerTimeoutMs: number;
  reportIntervalMs: number;
  /** Nothing more will be sent for it. */
  onOver(): void;
}

/** The session, and what its client does with it. */
export interface KeptSession extends PublishSession {
  drop(reason: DropReason): void;
  /** Ends it here, and tells nobody. */
  forget(): void;
}

interface Message {
  event: "stream:started" | "stream:ended";
  payload: object;
}

/** The longest that a timer takes; a longer one would go off at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** A repeat would get the same answer. */
const FINAL: ReadonlySet<ErrorCode> = new Set(["not_found", "conflict", "bad_request"]);
/** The server's limit for the reason of an end, in characters. */
const MAX_REASON_CHARACTERS = 200;

export function createPublishSession(parts: PublishSessionParts, options: PublishSessionOptions): KeptSession {
  const { connection, clock } = parts;
  const { sessionId, answerTimeoutMs, reportIntervalMs } = options;
  const listeners = createListeners<{ drop: [DropReason] }>();
  let state: "reserved" | "starting" | "on" | "ending" | "over" = "reserved";
  let dropped: DropReason | null = null;
  /** The oldest is on its way. */
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
    // The lease may be about to end.
    if (state === "on") void sendReport();
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

  /** Sends the oldest message, unless it is under way; a connection that comes back calls again. */
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
      taken(message);
    } else {
      cancelRetry = clock.after(ack?.error.retryAfterMs ?? backoffMs(attempts++), deliver);
    }
  }

  function taken(message: Message): void {
    attempts = 0;
    outbox.shift();
    if (state === "starting") {
      state = "on";
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
    // A figure that is none must not cost the stream its lease.
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
      // It came between the answer and this listener.
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

/** Runs once after `ms`, which may be years; the answer cancels it. */
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
