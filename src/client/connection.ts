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
 * An attempt gets a token first and opens the connection then, because the server waits only seconds for the token of an
 * open connection. So Socket.IO must not repeat attempts by itself. `state` changes in `setState` only.
 */
export type ConnectionState = "connecting" | "online" | "offline" | "expired";

/** Longer than the server lets a heartbeat wait. */
const ACK_TIMEOUT_MS = 15_000;
/** A token function that has not answered by then is called once more. */
const TOKEN_TIMEOUT_MS = 60_000;
/** After this many refusals in a row, no better token is expected soon. */
const REFUSALS_UNTIL_EXPIRED = 2;

export interface ConnectionOptions {
  /** The server, as `toServerUrl` gives it. */
  url: string;
  namespace: "/player" | "/dashboard";
  token: TokenSource;
  /** Sent in the handshake beside the token. */
  handshake?: object;
}

export interface Connection {
  readonly state: ConnectionState;
  /** The newest token; null before the first. */
  readonly token: string | null;
  /** @returns null where no answer came: the server may have taken the call or not */
  call<T extends object>(event: string, payload: object): Promise<Ack<T> | null>;
  /** Listens to an event that the server sends by itself. */
  onEvent(event: string, listener: (payload: never) => void): void;
  onState(listener: (state: ConnectionState) => void): () => void;
  /** Listens for tokens that differ from the one before. A listener that closes the connection keeps the token from being sent. */
  onToken(listener: (token: string) => void): () => void;
  close(): void;
}

interface Refusal extends Error {
  data?: { code?: string; retryAfterMs?: number };
}

/**
 * The option `url`, or where the page came from: the origin, and the path in front of the server if there is one.
 * @throws TypeError where there is neither, or the URL is none of a server
 */
export function toServerUrl(url: string | undefined): string {
  const page = globalThis.location?.origin;
  if (!url && !page)
    throw new TypeError("expected the option `url`: outside a browser there is no page to take it from");
  const { protocol, origin, pathname, search, hash } = new URL(url ?? "/", page);
  if (!/^https?:$/.test(protocol) || search || hash)
    throw new TypeError(
      `the option \`url\` is ${JSON.stringify(url)}; expected such as "https://host" or "https://host/path"`,
    );
  return origin + pathname.replace(/\/+$/, "");
}

/** Where the sockets are of a server whose URL is as `toServerUrl` gives it. */
export function toSocketAddress(url: string): { origin: string; path: string } {
  const { origin, pathname } = new URL(url);
  return { origin, path: `${pathname.replace(/\/$/, "")}/socket.io/` };
}

/** Connects after the caller's turn, so that the caller can put its listeners on first. */
export function createConnection({ clock }: { clock: Clock }, options: ConnectionOptions): Connection {
  const listeners = createListeners<{ state: [ConnectionState]; token: [string] }>();
  const hasOneToken = typeof options.token === "string";
  let state: ConnectionState = "connecting";
  let token: string | null = null;
  let tokenCall: Promise<string> | null = null;
  let refusals = 0;
  let failures = 0;
  let newestAttempt = 0;
  let closed = false;
  let cancelRetry = () => {};

  const { origin, path } = toSocketAddress(options.url);
  const socket = io(origin + options.namespace, {
    path,
    transports: ["websocket"],
    forceNew: true,
    autoConnect: false,
    reconnection: false,
  });

  function setState(next: ConnectionState): void {
    if (state === next) return;
    state = next;
    listeners.emit("state", next);
  }

  /** One call of the token function is under way at most, however many ask for a token. */
  function renewToken(): Promise<string> {
    tokenCall ??= askForToken().finally(() => {
      tokenCall = null;
    });
    return tokenCall;
  }

  async function askForToken(): Promise<string> {
    let cancel = () => {};
    const tooLate = new Promise<never>((_, reject) => {
      cancel = clock.after(TOKEN_TIMEOUT_MS, () => reject(new Error("the token function did not answer")));
    });
    const asked = Promise.resolve().then(() => (typeof options.token === "string" ? options.token : options.token()));
    const fresh = await Promise.race([asked, tooLate]).finally(cancel);
    if (!closed && fresh !== token) {
      token = fresh;
      listeners.emit("token", fresh);
    }
    return fresh;
  }

  /** Gets a token, and opens the connection. A newer attempt, or the end, makes it give up. */
  async function connect(): Promise<void> {
    const attempt = ++newestAttempt;
    cancelRetry();
    const fresh = await renewToken().catch(() => null);
    if (closed || attempt !== newestAttempt) return;
    if (fresh === null) {
      setState("offline");
      retry();
      return;
    }
    socket.auth = { token: fresh, ...options.handshake };
    socket.disconnect().connect();
  }

  function connectIn(ms: number): void {
    cancelRetry();
    if (!closed) cancelRetry = clock.after(ms, () => void connect());
  }

  /** Connects again after `afterMs`, or after a pause that grows with every failed attempt. */
  function retry(afterMs = toBackoffMs(failures++)): void {
    connectIn(afterMs);
  }

  socket.on("connect", () => {
    refusals = 0;
    setState("online");
    // Only a connection that lasts shows that the server is well.
    const cancel = clock.after(LAST_RETRY_MS, () => {
      failures = 0;
    });
    socket.once("disconnect", cancel);
  });

  socket.on("disconnect", (reason) => {
    if (closed) return;
    setState("connecting");
    if (reason !== "io client disconnect") retry();
  });

  socket.on("connect_error", (error: Refusal) => {
    if (closed) return;
    const isTokenRefused = error.data?.code === "unauthenticated" || error.data?.code === "forbidden";
    const isExpired = isTokenRefused && (hasOneToken || ++refusals >= REFUSALS_UNTIL_EXPIRED);
    setState(isExpired ? "expired" : "offline");
    // The same token would be refused again.
    if (!isTokenRefused || !hasOneToken) retry(error.data?.retryAfterMs);
  });

  socket.on("server:draining", ({ reconnectInMs }: { reconnectInMs: number }) => {
    connectIn(Math.random() * reconnectInMs);
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
    if (state === "offline" || state === "connecting") void connect();
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
    if (!closed) void connect();
  });
  return connection;
}
