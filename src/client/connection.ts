import { io } from "socket.io-client";
import type { Ack } from "../protocol/ack.ts";
import type { Clock } from "./clock.ts";
import { createListeners } from "./listeners.ts";
import { loadToken, type TokenSource } from "./token-source.ts";

/*
 * One namespace of the server, kept connected. What a person may be told:
 *
 *   connecting  at the start, and after a connection broke, while the first attempt runs   -> online, offline, expired
 *   online      calls get through                                                          -> connecting
 *   offline     attempts fail; they go on, further apart                                   -> online, expired
 *   expired     the server does not take the token (any more), and a new one did not help  -> online
 *
 * Socket.IO repeats failed attempts by itself, but neither after a refusal nor after the server ended the
 * connection; both are repeated here, with a fresh token. `state` changes in `setState` only.
 */
export type ConnectionState = "connecting" | "online" | "offline" | "expired";

/** Longer than the server lets a heartbeat wait. */
const ACK_TIMEOUT_MS = 15_000;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;
/** How many refusals of a token in a row say that no better one will come soon. */
const REFUSALS_UNTIL_EXPIRED = 2;

export interface ConnectionOptions {
  /** Where the server is, such as `https://progress.example.org`. */
  url: string;
  namespace: "/player" | "/dashboard";
  token: TokenSource;
}

export interface Connection {
  readonly state: ConnectionState;
  /** The token used last; null before the first. */
  readonly token: string | null;
  /** Null where no answer came: the call may or may not have been heard. */
  call<T extends object>(event: string, payload: object): Promise<Ack<T> | null>;
  /** Listens to what the server sends by itself. */
  onEvent(event: string, listener: (payload: never) => void): void;
  onState(listener: (state: ConnectionState) => void): () => void;
  /** A token came that is not the one before. */
  onToken(listener: (token: string) => void): () => void;
  close(): void;
}

interface Refusal extends Error {
  data?: { code?: string; retryAfterMs?: number };
}

export function createConnection({ clock }: { clock: Clock }, options: ConnectionOptions): Connection {
  const listeners = createListeners<{ state: [ConnectionState]; token: [string] }>();
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
        (fresh) => send({ token: fresh }),
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
    const fresh = await loadToken(options.token);
    if (fresh !== token) {
      token = fresh;
      listeners.emit("token", fresh);
    }
    return fresh;
  }

  /** Connects again after a while that grows with every attempt in vain. */
  function retry(afterMs?: number): void {
    cancelRetry();
    if (closed) return;
    const backoffMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempts++);
    const delayMs = afterMs ?? backoffMs * (0.5 + Math.random() / 2);
    cancelRetry = clock.after(delayMs, () => socket.connect());
  }

  socket.on("connect", () => {
    refusals = 0;
    setState("online");
  });

  socket.on("disconnect", (reason) => {
    if (closed) return;
    setState("connecting");
    // Where Socket.IO does not come back by itself: the server ended it, most often because the token did.
    if (reason === "io server disconnect") retry();
  });

  socket.on("connect_error", (error: Refusal) => {
    if (closed) return;
    if (socket.active) return setState("offline");
    const isTokenRefused = error.data?.code === "unauthenticated" || error.data?.code === "forbidden";
    if (isTokenRefused && (typeof options.token === "string" || ++refusals >= REFUSALS_UNTIL_EXPIRED))
      setState("expired");
    else setState("offline");
    // The same token again would be refused again.
    if (!isTokenRefused || typeof options.token !== "string") retry(error.data?.retryAfterMs);
  });

  // Only a connection that lasted shows that the attempts were not in vain.
  socket.on("connect", () => {
    const cancel = clock.after(LAST_RETRY_MS, () => {
      attempts = 0;
    });
    socket.once("disconnect", cancel);
  });

  socket.on("server:draining", ({ reconnectInMs }: { reconnectInMs: number }) => {
    cancelRetry();
    cancelRetry = clock.after(Math.random() * reconnectInMs, () => socket.disconnect().connect());
  });

  socket.on("session:expiring", () => {
    if (typeof options.token !== "string") void refreshToken();
  });

  /** A failure is no disaster: the server ends the connection when the token ends, and the next one asks again. */
  async function refreshToken(): Promise<void> {
    try {
      const fresh = await renewToken();
      await connection.call("token:refresh", { token: fresh });
    } catch {
      cancelRetry();
      cancelRetry = clock.after(LAST_RETRY_MS / 2, () => void refreshToken());
    }
  }

  /** The device says that its network is back: no need to sit out the pause. */
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
      // Socket.IO would keep the call for later; whoever calls has a better memory.
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
  // After the caller has put its listeners on.
  queueMicrotask(() => {
    if (!closed) socket.connect();
  });
  return connection;
}
