import { io } from "socket.io-client";
import type { Clock } from "../client/clock.ts";
import { toServerUrl, toSocketAddress } from "../client/connection.ts";
import { createListeners } from "../client/listeners.ts";
import type { Ack } from "../protocol/ack.ts";
import type { StreamDrop } from "../protocol/stream.ts";

/*
 * A media server's connection to Playhead. Socket.IO reconnects by itself after a failed attempt, but neither after a
 * refused handshake nor after the server closed the connection. This file reconnects in those two cases.
 *
 * A call is sent on an open connection or not at all. Socket.IO's own buffer would send a stream key long after
 * anybody needs the answer.
 */

/** Long, because a refused secret will most likely be refused again. */
const UNAUTHENTICATED_RETRY_MS = 30_000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;

/** Why there is no connection. */
export interface RtmpProblem {
  /**
   * `unauthenticated`: the secret is not one of Playhead's; `refused`: Playhead accepts no connection now (it is
   * stopping, or this media server has too many); `unreachable`: nothing answers.
   */
  cause: "unauthenticated" | "refused" | "unreachable";
  /** For people. It contains neither the secret nor a stream key. */
  message: string;
}

export interface RtmpConnectionOptions {
  url: string;
  auth: { secret: string; server: string; boot: string };
}

export interface CallOptions<T> {
  timeoutMs: number;
  /** Called with an answer that came after `timeoutMs`. */
  onLate?: (ack: Ack<T & object>) => void;
}

export interface RtmpConnection {
  readonly connected: boolean;
  /** Waits for a connection. False if none came in time, or none can come soon. */
  whenConnected(timeoutMs: number): Promise<boolean>;
  /** Null if no answer came in time or before the connection broke. Playhead may have received the call or not. */
  call<T extends object>(event: string, payload: object, options: CallOptions<T>): Promise<Ack<T> | null>;
  onConnected(listener: () => void): () => void;
  onDrop(listener: (drop: StreamDrop) => void): void;
  /** Called once per change of the cause. A connection in between counts as a change. */
  onProblem(listener: (problem: RtmpProblem) => void): void;
  close(): void;
}

interface HandshakeError extends Error {
  data?: { code?: string; retryAfterMs?: number };
}

type Events = { connected: []; lost: []; drop: [StreamDrop]; problem: [RtmpProblem] };

/** The pause before the next attempt. It grows with each failure, and is random so that media servers do not reconnect together. */
export function backoffMs(attempts: number): number {
  return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempts) * (0.5 + Math.random() / 2);
}

export function createRtmpConnection({ clock }: { clock: Clock }, options: RtmpConnectionOptions): RtmpConnection {
  const listeners = createListeners<Events>();
  let cause: RtmpProblem["cause"] | null = null;
  let attempts = 0;
  let closed = false;
  let cancelRetry = () => {};

  const { origin, path } = toSocketAddress(toServerUrl(options.url));
  const socket = io(`${origin}/rtmp`, {
    path,
    transports: ["websocket"],
    forceNew: true,
    autoConnect: false,
    reconnectionDelay: 500,
    reconnectionDelayMax: 5000,
    auth: options.auth,
  });

  function retry(afterMs: number): void {
    cancelRetry();
    if (!closed) cancelRetry = clock.after(afterMs, () => socket.connect());
  }

  function setCause(next: RtmpProblem["cause"], message: string): void {
    if (cause === next) return;
    cause = next;
    listeners.emit("problem", { cause: next, message });
  }

  socket.on("connect", () => {
    cause = null;
    attempts = 0;
    listeners.emit("connected");
  });

  socket.on("disconnect", (reason) => {
    listeners.emit("lost");
    // In this case alone Socket.IO does not reconnect.
    if (reason === "io server disconnect") retry(backoffMs(attempts++));
  });

  socket.on("connect_error", (error: HandshakeError) => {
    if (closed) return;
    if (socket.active) return setCause("unreachable", `Playhead cannot be reached: ${error.message}`);
    const { code, retryAfterMs } = error.data ?? {};
    if (code === "unauthenticated") {
      setCause("unauthenticated", `Playhead does not accept this media server's secret: ${error.message}`);
      retry(UNAUTHENTICATED_RETRY_MS * (0.5 + Math.random() / 2));
    } else {
      setCause("refused", `Playhead refuses the connection (${code ?? "without a code"}): ${error.message}`);
      retry(retryAfterMs ?? backoffMs(attempts++));
    }
    listeners.emit("lost");
  });

  // Until then the stopping server still answers.
  socket.on("server:draining", ({ reconnectInMs }: { reconnectInMs: number }) => {
    cancelRetry();
    cancelRetry = clock.after(Math.random() * reconnectInMs, () => socket.disconnect().connect());
  });

  socket.on("stream:drop", (drop: StreamDrop) => listeners.emit("drop", drop));

  // Later, so that the caller can add its listeners first.
  queueMicrotask(() => {
    if (!closed) socket.connect();
  });

  return {
    get connected() {
      return socket.connected;
    },

    whenConnected(timeoutMs) {
      const isSettled = () => socket.connected || closed || cause === "unauthenticated";
      if (isSettled()) return Promise.resolve(socket.connected);
      return new Promise((resolve) => {
        const finish = () => {
          for (const stop of stops) stop();
          resolve(socket.connected);
        };
        const look = () => isSettled() && finish();
        const stops = [clock.after(timeoutMs, finish), listeners.on("connected", look), listeners.on("lost", look)];
      });
    },

    call<T extends object>(event: string, payload: object, { timeoutMs, onLate }: CallOptions<T>) {
      if (!socket.connected) return Promise.resolve(null);
      return new Promise<Ack<T> | null>((resolve) => {
        let open = true;
        const settle = (ack: Ack<T> | null) => {
          open = false;
          cancel();
          stopListening();
          resolve(ack);
        };
        const cancel = clock.after(timeoutMs, () => settle(null));
        const stopListening = listeners.on("lost", () => settle(null));
        try {
          socket.emit(
            event,
            payload,
            toAckListener<T>((ack) => (open ? settle(ack) : onLate?.(ack))),
          );
        } catch {
          settle({ ok: false, error: { code: "bad_request", message: "The payload is not JSON." } });
        }
      });
    },

    onConnected: (listener) => listeners.on("connected", listener),
    onDrop: (listener) => void listeners.on("drop", listener),
    onProblem: (listener) => void listeners.on("problem", listener),

    close() {
      closed = true;
      cancelRetry();
      socket.disconnect();
      listeners.emit("lost");
    },
  };
}

/** A function of its own, so that a listener which waits for a late answer does not hold the payload with its stream key. */
function toAckListener<T extends object>(settle: (ack: Ack<T>) => void): (answer: unknown) => void {
  return (answer) => {
    const isAck = typeof answer === "object" && answer !== null && "ok" in answer;
    settle(
      isAck ? (answer as Ack<T>) : { ok: false, error: { code: "internal", message: "The answer is not an ack." } },
    );
  };
}
