import { io } from "socket.io-client";
import type { Ack } from "../protocol/ack.ts";
import { type Clock, LAST_RETRY_MS, toBackoffMs } from "./clock.ts";
import { createListeners } from "./listeners.ts";
import type { TokenSource } from "./token-source.ts";

/*
 * One namespace of the server, kept connected. The states, and where each may lead:
 *
 *   connecting  the first attempt runs, at the start or after a connection broke  -> online, offline, expired
 *   online      calls reach the server                                            -> connecting
 *   offline     attempts fail; they go on at growing intervals                    -> online, expired
 *   expired     the server refuses the token, and a new one did not help          -> online
 *
 * Socket.IO repeats failed attempts by itself, but neither after a refusal nor after the server ended the connection.
 * This file repeats those, with a fresh token. `state` changes in `setState` only.
 */
export type ConnectionState = "connecting" | "online" | "offline" | "expired";

/** Longer than the server lets a heartbeat wait. */
const ACK_TIMEOUT_MS = 15_000;
/** After this many refusals in a row, no better token is expected soon. */
const REFUSALS_UNTIL_EXPIRED = 2;

export interface ConnectionOptions {
  /** The server, such as `https://progress.example.org`. */
  url: string;
  namespace: "/player" | "/dashboard";
  token: TokenSource;
  /** Sent in the handshake beside the token. */
  handshake?: object;
}

export interface Connection {
  readonly state: ConnectionState;
  /** The token of the last attempt; null before the first. */
  readonly token: string | null;
  /** @returns null where no answer came: the server may have taken the call or not */
  call<T extends object>(event: string, payload: object): Promise<Ack<T> | null>;
  /** Listens to an event that the server sends by itself. */
  onEvent(event: string, listener: (payload: never) => void): void;
  onState(listener: (state: ConnectionState) => void): () => void;
  /** Listens for tokens that differ from the one before. */
  onToken(listener: (token: string) => void): () => void;
  close(): void;
}

interface Refusal extends Error {
  data?: { code?: string; retryAfterMs?: number };
}

/**
 * The option `url`, or where the page came from.
 * @throws TypeError where there is neither
 */
export function toServerUrl(url: string | undefined): string {
  const server = url ?? globalThis.location?.origin;
  if (!server) throw new TypeError("expected the option `url`: outside a browser there is no page to take it from");
  return server;
}

/** Connects after the caller's turn, so that the caller can put its listeners on first. */
export function createConnection({ clock }: { clock: Clock }, options: ConnectionOptions): Connection {
  const listeners = createListeners<{ state: [ConnectionState]; token: [string] }>();
  const hasOneToken = typeof options.token === "string";
  let state: ConnectionState = "connecting";
  let token: string | null = null;
  let refusals = 0;
  let attempts = 0;
  let closed = false;
  let cancelRetry = () => {};

  const socket = io(new URL(options.namespace, options.url).href, {
    transports: ["websocket"],
    forceNew: true,
    autoConnect: false,
    reconnectionDelay: 500,
    reconnectionDelayMax: 15_000,
    auth: (send) => {
      renewToken().then(
        (fresh) => send({ token: fresh, ...options.handshake }),
        () => {
          socket.disconnect();
          setState("offline");
          retry();
        },
      );
    },
  });

  function setState(next: ConnectionState): void {
    if (state === next) return;
    state = next;
    listeners.emit("state", next);
  }

  async function renewToken(): Promise<string> {
    const fresh = typeof options.token === "string" ? options.token : await options.token();
    if (fresh !== token) {
      token = fresh;
      listeners.emit("token", fresh);
    }
    return fresh;
  }

  /** Connects again after `afterMs`, or after a pause that grows with every failed attempt. */
  function retry(afterMs?: number): void {
    cancelRetry();
    if (closed) return;
    cancelRetry = clock.after(afterMs ?? toBackoffMs(attempts++), () => socket.connect());
  }

  socket.on("connect", () => {
    refusals = 0;
    setState("online");
    // Only a connection that lasts shows that the server is well.
    const cancel = clock.after(LAST_RETRY_MS, () => {
      attempts = 0;
    });
    socket.once("disconnect", cancel);
  });

  socket.on("disconnect", (reason) => {
    if (closed) return;
    setState("connecting");
    // The server ended the connection, most often because the token ended. Socket.IO does not come back by itself.
    if (reason === "io server disconnect") retry();
  });

  socket.on("connect_error", (error: Refusal) => {
    if (closed) return;
    if (socket.active) return setState("offline");
    const isTokenRefused = error.data?.code === "unauthenticated" || error.data?.code === "forbidden";
    const isExpired = isTokenRefused && (hasOneToken || ++refusals >= REFUSALS_UNTIL_EXPIRED);
    setState(isExpired ? "expired" : "offline");
    // The same token would be refused again.
    if (!isTokenRefused || !hasOneToken) retry(error.data?.retryAfterMs);
  });

  socket.on("server:draining", ({ reconnectInMs }: { reconnectInMs: number }) => {
    cancelRetry();
    cancelRetry = clock.after(Math.random() * reconnectInMs, () => socket.disconnect().connect());
  });

  socket.on("session:expiring", () => {
    if (!hasOneToken) void refreshToken();
  });

  /** A failure does little harm: the server ends the connection with the token, and the next attempt asks for a new one. */
  async function refreshToken(): Promise<void> {
    try {
      const fresh = await renewToken();
      await connection.call("token:refresh", { token: fresh });
    } catch {
      cancelRetry();
      cancelRetry = clock.after(LAST_RETRY_MS / 2, () => void refreshToken());
    }
  }

  /** The device says that its network is back: connect now instead of waiting. */
  function onNetwork(): void {
    if (state === "offline" || state === "connecting") socket.disconnect().connect();
  }

  const page = typeof window === "undefined" ? null : window;
  page?.addEventListener("online", onNetwork);

  const connection: Connection = {
    get state() {
      return state;
    },
    get token() {
      return token;
    },
    async call<T extends object>(event: string, payload: object): Promise<Ack<T> | null> {
      // Socket.IO would keep the call and send it later. The callers here repeat their calls themselves.
      if (!socket.connected) return null;
      return await socket
        .timeout(ACK_TIMEOUT_MS)
        .emitWithAck(event, payload)
        .catch(() => null);
    },
    onEvent(event, listener) {
      socket.on(event, listener as (payload: unknown) => void);
    },
    onState: (listener) => listeners.on("state", listener),
    onToken: (listener) => listeners.on("token", listener),
    close() {
      closed = true;
      cancelRetry();
      page?.removeEventListener("online", onNetwork);
      socket.disconnect();
    },
  };
  queueMicrotask(() => {
    if (!closed) socket.connect();
  });
  return connection;
}
