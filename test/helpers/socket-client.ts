import { io, type Socket } from "socket.io-client";
import { WebSocket } from "ws";
import type { Ack } from "../../src/protocol/ack.ts";
import type { Update } from "../../src/protocol/dashboard.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";
import { waitFor } from "./wait-for.ts";

/*
 * Two clients of the socket contract: `connect` uses socket.io-client, and `connectRaw` writes frames itself, to send
 * what a client library would not.
 */

/** A call that got no answer for so long will get none. */
const ANSWER_MS = 30_000;

/** The namespaces that take tokens. */
export type Namespace = "/player" | "/dashboard";

/** The fields that some ack may carry; a test reads those of its call. */
export type Answer = Ack<{
  progress: FileProgress;
  nextBeatMs: number;
  results: Ack<{ progress: FileProgress }>[];
  expiresAt: string;
  topic: string;
  snapshot: Update;
}>;

export interface Client {
  socket: Socket;
  /** Sends an event and gives the ack. @throws Error where no ack comes */
  call(event: string, payload?: unknown, ...more: unknown[]): Promise<Answer>;
  /** The payloads of all events of this name so far. */
  heard<T = Update>(event: string): T[];
  /** Waits for an event of this name that matches; one that came earlier counts. */
  hear<T = Update>(event: string, matches?: (payload: T) => boolean): Promise<T>;
  /** Settles with Socket.IO's reason when the connection has ended. */
  gone: Promise<string>;
  close(): void;
}

export interface ConnectOptions {
  headers?: Record<string, string>;
  /** The auth of the handshake, in place of `{ token }`. */
  auth?: Record<string, unknown>;
}

/** A handshake that the server refused. */
export class ConnectError extends Error {
  readonly data: { code?: string; retryAfterMs?: number } | undefined;

  constructor(error: Error & { data?: { code?: string } }) {
    super(error.message);
    this.data = error.data;
  }
}

/** Opens a connection that no other client shares. @throws ConnectError where it is refused */
export async function connect(
  url: string,
  namespace: Namespace | "/rtmp" | "/",
  token: string,
  { headers = {}, auth = { token } }: ConnectOptions = {},
): Promise<Client> {
  const socket = io(url + namespace, {
    transports: ["websocket"],
    forceNew: true,
    reconnection: false,
    extraHeaders: headers,
    auth,
  });
  const heard = new Map<string, unknown[]>();
  socket.onAny((event: string, payload: unknown) => {
    heard.set(event, [...(heard.get(event) ?? []), payload]);
  });
  const gone = new Promise<string>((resolve) => socket.once("disconnect", resolve));
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", (error) => {
      socket.close();
      reject(new ConnectError(error));
    });
  });
  const client: Client = {
    socket,
    call: (event, ...given) => socket.timeout(ANSWER_MS).emitWithAck(event, ...given),
    heard: <T>(event: string) => (heard.get(event) ?? []) as T[],
    hear: async <T>(event: string, matches: (payload: T) => boolean = () => true) =>
      (await waitFor(() => client.heard<T>(event).find(matches), {
        what: `${event}; heard ${JSON.stringify(Object.fromEntries(heard)).slice(0, 2000)}`,
      })) as T,
    gone,
    close: () => socket.disconnect(),
  };
  return client;
}

/** A connection that sends any frame, well-formed or not. */
export interface RawClient {
  ws: WebSocket;
  /** Every frame that arrived, except pings. */
  frames: string[];
  send(frame: string | Uint8Array): void;
  /** Waits for a frame that matches; one that came earlier counts. */
  hear(matches: (frame: string) => boolean): Promise<string>;
  /** Sends an event and gives the ack. `args` is the JSON array of its name and payload, sent as it stands. */
  callRaw(namespace: Namespace | "/rtmp", args: string): Promise<Answer>;
  /** Settles with the WebSocket's close code. */
  closed: Promise<number>;
  close(): void;
}

let lastAckId = 0;

/** Opens a WebSocket and waits for the engine's first packet. @throws Error where the upgrade is refused */
export async function connectRaw(url: string, options: { headers?: Record<string, string> } = {}): Promise<RawClient> {
  const target = `${url.replace(/^http/, "ws")}/socket.io/?EIO=4&transport=websocket`;
  const ws = new WebSocket(target, { headers: options.headers ?? {}, perMessageDeflate: false });
  const frames: string[] = [];
  ws.on("message", (data, isBinary) => {
    const frame = isBinary ? "(binary)" : data.toString();
    if (frame === "2") ws.send("3");
    else frames.push(frame);
  });
  const closed = new Promise<number>((resolve) => ws.once("close", resolve));
  await new Promise<void>((resolve, reject) => {
    ws.once("open", resolve);
    ws.once("error", reject);
  });
  ws.on("error", () => undefined); // `closed` follows
  const client: RawClient = {
    ws,
    frames,
    send: (frame) => ws.send(frame),
    hear: (matches) =>
      waitFor(() => frames.find(matches), { what: `a frame; heard ${frames.map((f) => f.slice(0, 200)).join(" | ")}` }),
    async callRaw(namespace, args) {
      lastAckId += 1;
      const id = lastAckId;
      ws.send(`42${namespace},${id}${args}`);
      const prefix = `43${namespace},${id}[`;
      const frame = await client.hear((text) => text.startsWith(prefix));
      return JSON.parse(frame.slice(prefix.length - 1))[0];
    },
    closed,
    close: () => ws.terminate(),
  };
  await client.hear((frame) => frame.startsWith("0"));
  return client;
}

/** Opens a WebSocket and joins a namespace. */
export async function connectRawTo(url: string, namespace: Namespace, token: string): Promise<RawClient> {
  const client = await connectRaw(url);
  client.send(`40${namespace},${JSON.stringify({ token })}`);
  await client.hear((frame) => frame.startsWith(`40${namespace},`));
  return client;
}
