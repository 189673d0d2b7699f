import { io } from "socket.io-client";
import type { Ack } from "../protocol/wire.ts";
import { type Clock, toBackoffMs } from "./clock.ts";
import { createListeners, type Listeners } from "./listeners.ts";
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
/** A connection that lasts so long shows that the server is well. */
const LASTING_MS = 30_000;
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

type ConnectionEvents = {
  state: [ConnectionState];
  /** A token that differs from the one before. A listener that closes the connection keeps it from being sent. */
  token: [string];
};

export interface Connection {
  readonly state: ConnectionState;
  /** The newest token; null before the first. */
  readonly token: string | null;
  /** @returns null where no answer came: the server may have taken the call or not */
  call<T extends object>(event: string, payload: object): Promise<Ack<T> | null>;
  /** Listens to an event that the server sends by itself. */
  onEvent(event: string, listener: (payload: never) => void): void;
  on: Listeners<ConnectionEvents>["on"];
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
  try {
    const { protocol, origin, pathname, search, hash } = new URL(url ?? "/", globalThis.location?.origin);
    if (/^https?:$/.test(protocol) && !search && !hash) return origin + pathname.replace(/\/+$/, "");
  } catch {
    // Outside a browser there is no page to take a part of it from.
  }
  throw new TypeError(`the option \`url\` is ${url}; expected "https://host" or "https://host/path"`);
}

/** Where the sockets are of a server whose URL is as `toServerUrl` gives it. */
export function toSocketAddress(url: string): { origin: string; path: string } {
  const { origin } = new URL(url);
  return { origin, path: `${url.slice(origin.length)}/socket.io/` };
}

/** Connects after the caller's turn, so that the caller can put its listeners on first. */
export function createConnection({ clock }: { clock: Clock }, options: ConnectionOptions): Connection {
  const { url, namespace, token: source, handshake } = options;
  const listeners = createListeners<ConnectionEvents>();
  const hasOneToken = typeof source === "string";
  let state: ConnectionState = "connecting";
  let token: string | null = null;
  let tokenCall: Promise<string> | null = null;
  let refusals = 0;
  let failures = 0;
  let newestAttempt = 0;
  let closed = false;
  let cancelRetry = () => {};

  const { origin, path } = toSocketAddress(url);
  const socket = io(origin + namespace, {
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
    const fresh = await Promise.race([
      Promise.resolve().then(() => (hasOneToken ? source : source())),
      new Promise<never>((_, reject) => clock.after(TOKEN_TIMEOUT_MS, reject as () => void)),
    ]);
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
      return connectIn();
    }
    socket.auth = { token: fresh, ...handshake };
    socket.disconnect().connect();
  }

  /** Without a time it waits for a pause that grows with every failed attempt. */
  function connectIn(ms = toBackoffMs(failures++)): void {
    cancelRetry();
    cancelRetry = clock.after(ms, () => void connect());
  }

  socket.on("connect", () => {
    refusals = 0;
    setState("online");
    const cancel = clock.after(LASTING_MS, () => {
      failures = 0;
    });
    socket.once("disconnect", cancel);
  });

  socket.on("disconnect", (reason) => {
    if (closed) return;
    setState("connecting");
    if (reason !== "io client disconnect") connectIn();
  });

  socket.on("connect_error", ({ data = {} }: Refusal) => {
    if (closed) return;
    const isTokenRefused = data.code === "unauthenticated" || data.code === "forbidden";
    const isExpired = isTokenRefused && (hasOneToken || ++refusals >= REFUSALS_UNTIL_EXPIRED);
    setState(isExpired ? "expired" : "offline");
    // The same token would be refused again.
    if (!isTokenRefused || !hasOneToken) connectIn(data.retryAfterMs);
  });

  socket.on("server:draining", ({ reconnectInMs }: { reconnectInMs: number }) => {
    connectIn(Math.random() * reconnectInMs);
  });

  socket.on("session:expiring", async () => {
    if (hasOneToken) return;
    // A failure does little harm: the server ends the connection with the token, and the next attempt asks for a new one.
    const fresh = await renewToken().catch(() => null);
    if (fresh !== null) void connection.call("token:refresh", { token: fresh });
  });

  /** The device says that its network is back: connect now instead of waiting. */
  function onNetwork(): void {
    if (state === "offline" || state === "connecting") void connect();
  }
  globalThis.addEventListener?.("online", onNetwork);

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
    on: listeners.on,
    close() {
      closed = true;
      cancelRetry();
      globalThis.removeEventListener?.("online", onNetwork);
      socket.disconnect();
    },
  };
  queueMicrotask(() => {
    if (!closed) void connect();
  });
  return connection;
}
