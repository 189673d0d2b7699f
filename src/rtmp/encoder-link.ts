/*
 * An encoder's connection to node-media-server 4.4, which has no API for it. A session keeps its `net.Socket` (RTMP),
 * its request and response (HTTP-FLV), or its WebSocket in place of the response. While a connection is held, nothing
 * is read from the encoder, so no media flows before Playhead has admitted it.
 */

/** An encoder's connection. */
export interface EncoderLink {
  /** False as soon as one side has begun to close the connection. */
  readonly open: boolean;
  /** Stops reading from the encoder. */
  hold(): void;
  /** Reads on, and passes on the packets that were parsed meanwhile. */
  release(): void;
  /** Closes the connection at once. Data that the encoder still sends is not read. */
  cut(): void;
  /** Calls the listener once, when the connection is closed. */
  onClosed(listener: () => void): void;
}

/** The part of a node-media-server session that Playhead uses. */
export interface NodeMediaSession {
  readonly id: string;
  /** `address:port` of the encoder. */
  readonly ip: string;
  readonly protocol: string;
  readonly streamApp: string;
  readonly streamName: string;
  /** `/app/name`; empty if node-media-server does not accept the name. */
  readonly streamPath: string;
  /** The query after the name: `name?a=b`. */
  readonly streamQuery: Readonly<Record<string, unknown>>;
  readonly inBytes: number;
  close(): void;
}

/** A media packet. The parser reuses the buffer of `data`. */
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

/** The connection of a session. Null if it is of a kind that cannot be held. */
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
  let releasePackets = () => {};
  return {
    get open() {
      return !socket.destroyed && !socket.writableEnded;
    },
    hold() {
      releasePackets = holdPackets(rtmp);
      socket.pause();
    },
    release() {
      releasePackets();
      socket.resume();
    },
    cut() {
      // Stops the rest of the segment that is being parsed.
      holdPackets(rtmp);
      session.close();
      // A paused socket does not notice that the encoder has closed its side.
      socket.destroySoon();
    },
    onClosed: (listener) => void socket.once("close", listener),
  };
}

/**
 * Collects packets until the returned function passes them on. Needed beside `pause()`: media in the same segment as
 * the encoder's request is still parsed after it.
 */
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

/** `close()` only ends the response; node-media-server would still read the request. So `cut` destroys the socket. */
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
      // `close()` would wait 30 s for the encoder to close its side, and read meanwhile.
      res.terminate();
    },
    onClosed: (listener) => void res.once("close", listener),
  };
}
