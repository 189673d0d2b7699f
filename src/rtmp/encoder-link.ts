/*
 * The network side of an encoder at node-media-server 4.4, which has no API for it: a session keeps its `net.Socket`
 * (RTMP), its request and response (HTTP-FLV), or its WebSocket in the response's place. Held means that nothing more
 * is read from the encoder, so that no media flows before somebody has said that it may.
 */

/** An encoder's connection. */
export interface EncoderLink {
  /** False as soon as either side has begun to close it. */
  readonly open: boolean;
  hold(): void;
  release(): void;
  /** Ends it at once; what the encoder still sends is not read. */
  cut(): void;
  /** Once, when it is closed. */
  onClosed(listener: () => void): void;
}

/** What is used of a session of node-media-server. */
export interface NodeMediaSession {
  readonly id: string;
  /** `address:port` of the encoder. */
  readonly ip: string;
  readonly protocol: string;
  readonly streamApp: string;
  readonly streamName: string;
  /** `/app/name`; empty where node-media-server does not take the name. */
  readonly streamPath: string;
  /** What follows the name: `name?a=b`. */
  readonly streamQuery: Readonly<Record<string, unknown>>;
  readonly inBytes: number;
  close(): void;
}

/** A media packet; its bytes are in a buffer that the parser uses again. */
interface Packet {
  data: Uint8Array;
}

interface RtmpSocket {
  readonly destroyed: boolean;
  readonly writableEnded: boolean;
  pause(): unknown;
  resume(): unknown;
  destroySoon(): void;
  once(event: "close", listener: () => void): unknown;
}

interface RtmpSession extends NodeMediaSession {
  readonly socket: RtmpSocket;
  readonly rtmp?: { onPacketCallback: (packet: Packet) => void };
}

interface FlvRequest {
  readonly destroyed: boolean;
  readonly socket: { destroy(): unknown };
  pause(): unknown;
  resume(): unknown;
  once(event: "close", listener: () => void): unknown;
}

interface FlvSession extends NodeMediaSession {
  readonly req: FlvRequest;
  readonly res: { readonly writableEnded: boolean };
}

interface WebSocketSession extends NodeMediaSession {
  readonly res: {
    readonly readyState: number;
    pause(): void;
    resume(): void;
    terminate(): void;
    once(event: "close", listener: () => void): unknown;
  };
}

const WEBSOCKET_OPEN = 1;

/** Null where it is no connection that this knows how to hold. */
export function toEncoderLink(session: NodeMediaSession): EncoderLink | null {
  if (isRtmp(session)) return toRtmpLink(session);
  if (isWebSocket(session)) return toWebSocketLink(session);
  return isFlv(session) ? toFlvLink(session) : null;
}

function isRtmp(session: NodeMediaSession): session is RtmpSession {
  const { socket } = session as Partial<RtmpSession>;
  return typeof socket?.pause === "function" && typeof socket.destroySoon === "function";
}

function isWebSocket(session: NodeMediaSession): session is WebSocketSession {
  const { res } = session as Partial<WebSocketSession>;
  return typeof res?.terminate === "function" && typeof res.pause === "function";
}

function isFlv(session: NodeMediaSession): session is FlvSession {
  const { req, res } = session as Partial<FlvSession>;
  return typeof req?.pause === "function" && res !== undefined;
}

function toRtmpLink(session: RtmpSession): EncoderLink {
  const { socket, rtmp } = session;
  let letGo = () => {};
  return {
    get open() {
      return !socket.destroyed && !socket.writableEnded;
    },
    hold() {
      letGo = holdPackets(rtmp);
      socket.pause();
    },
    release() {
      letGo();
      socket.resume();
    },
    cut() {
      // What is in the segment that is being parsed.
      holdPackets(rtmp);
      session.close();
      // A paused socket never hears that the encoder has closed its side.
      socket.destroySoon();
    },
    onClosed: (listener) => void socket.once("close", listener),
  };
}

/** An encoder need not wait before it sends: media in the same segment as its request is parsed after `pause()`. */
function holdPackets(rtmp: RtmpSession["rtmp"]): () => void {
  if (typeof rtmp?.onPacketCallback !== "function") return () => {};
  const pass = rtmp.onPacketCallback;
  const held: Packet[] = [];
  rtmp.onPacketCallback = (packet) => {
    packet.data = Buffer.from(packet.data);
    held.push(packet);
  };
  return () => {
    rtmp.onPacketCallback = pass;
    for (const packet of held.splice(0)) pass(packet);
  };
}

/** `close()` alone only ends the response, and node-media-server goes on reading the request. */
function toFlvLink(session: FlvSession): EncoderLink {
  const { req, res } = session;
  return {
    get open() {
      return !req.destroyed && !res.writableEnded;
    },
    hold: () => void req.pause(),
    release: () => void req.resume(),
    cut() {
      session.close();
      req.socket.destroy();
    },
    onClosed: (listener) => void req.once("close", listener),
  };
}

function toWebSocketLink(session: WebSocketSession): EncoderLink {
  const { res } = session;
  return {
    get open() {
      return res.readyState === WEBSOCKET_OPEN;
    },
    hold: () => res.pause(),
    release: () => res.resume(),
    cut() {
      session.close();
      // It would wait 30 s for the encoder's goodbye, and read on.
      res.terminate();
    },
    onClosed: (listener) => void res.once("close", listener),
  };
}
