import type { IncomingHttpHeaders } from "node:http";
import { type Namespace, Server } from "socket.io";
import { createRefusedOrigins, isAllowedOrigin } from "../auth/origins.ts";
import type { Config } from "../config.ts";
import type { WireError } from "../errors.ts";
import { networkOf } from "../limits/network-address.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { FileProgress } from "../protocol/progress.ts";
import type { SessionDrop } from "../streams/sessions/session-drop.ts";
import { answerLater } from "../uws/later-answers.ts";
import { countOversizedFrames } from "../uws/oversized-frames.ts";
import type { TemplatedApp } from "../uws/uws.ts";
import { Connections, type CountedConnection } from "./connections.ts";
import { readDirectFrames } from "./direct-frames.ts";
import { endUnread } from "./end-unread.ts";
import { SocketOutlet } from "./outlet.ts";
import { skipOwnRooms } from "./own-rooms.ts";
import { tellMediaServer } from "./rtmp-namespace.ts";
import { createSocketGuard, type SocketGuard } from "./socket-guard.ts";
import { textParser } from "./text-parser.ts";

/*
 * Socket.IO on uWebSockets.js, and the ways out to its sockets. The calls of the sockets are served by serve-sockets.ts,
 * once the parts that answer them are built. Socket.IO patches its adapter for the whole process when it is attached to
 * uWebSockets.js, so a process opens its sockets once.
 */

/** uWebSockets.js closes a socket that sends a longer frame, without a word to the client; the metrics count it. */
const MAX_FRAME_BYTES = 64 * 1024;
/** A page may stand still for the sum of both, 35 s, before its socket is closed. */
const PING_INTERVAL_MS = 15_000;
const PING_TIMEOUT_MS = 20_000;
/**
 * How long a client that has upgraded, and answers pings, may take to join a namespace. It is Socket.IO's default, which
 * client libraries rely on that get their token when the connection is open. See connections.ts for those that are silent.
 */
const CONNECT_TIMEOUT_MS = 45_000;

export interface SocketParts {
  app: TemplatedApp;
  config: Pick<
    Config,
    "PUBLIC_PATH" | "SOCKET_TRANSPORTS" | "ALLOWED_ORIGINS" | "TRUST_PROXY" | "MAX_BACKPRESSURE_BYTES"
  >;
  metrics: Metrics;
  logger: Logger;
}

export interface Sockets {
  players: Namespace;
  dashboards: Namespace;
  mediaServers: Namespace;
  /** Counts the connections of all namespaces. */
  connections: Connections;
  /** The way out to dashboards. */
  outlet: SocketOutlet;
  tellDevice(socketId: string, progress: FileProgress): void;
  /** Tells the session's media server to end it, if that server is connected to this process. */
  tellMediaServer(drop: SessionDrop): void;
  /** Closes all sockets. */
  close(): Promise<void>;
}

/** Attaches Socket.IO to the app. Nobody can connect before the app listens. */
export function openSockets({ app, config, metrics, logger }: SocketParts): Sockets {
  const { connectionsRefused } = metrics;
  const connections = new Connections(() => connectionsRefused.inc({ reason: "connects" }));
  const guard = createSocketGuard(logger);
  const io = createServer({ connections, guard, config, metrics, logger });
  countOversizedFrames(app, metrics.oversizedFrames);
  readDirectFrames(app, guard);
  const limits = { maxBackpressure: config.MAX_BACKPRESSURE_BYTES };
  answerLater(app, () => {
    io.attachApp(app, { ...limits } as never);
    // A proxy may take the public path away or pass it on.
    if (config.PUBLIC_PATH !== "")
      io.engine.attach(app as never, { ...limits, path: `${config.PUBLIC_PATH}${io.path()}` } as never);
  });
  io.engine.on("connection", (connection: EngineConnection) => {
    guard({ disconnect: () => connection.close(true) }, () => {
      forgetRequest(connection, config.TRUST_PROXY, guard);
      endUnread(connection);
      connections.opened(connection);
    });
  });
  refuseRootNamespace(io);
  const [players, dashboards, mediaServers] = [io.of("/player"), io.of("/dashboard"), io.of("/rtmp")];
  for (const namespace of [players, dashboards, mediaServers]) skipOwnRooms(namespace);
  return {
    players,
    dashboards,
    mediaServers,
    connections,
    outlet: new SocketOutlet(app, dashboards),
    tellDevice(socketId, progress) {
      players.sockets.get(socketId)?.emit("progress", progress);
    },
    tellMediaServer: (drop) => tellMediaServer(mediaServers, drop),
    close: () => io.close(),
  };
}

interface ServerParts extends Omit<SocketParts, "app"> {
  connections: Connections;
  guard: SocketGuard;
}

function createServer({ connections, guard, config, metrics, logger }: ServerParts): Server {
  const { connectionsRefused } = metrics;
  const logRefused = createRefusedOrigins(logger);

  function refusalOf(request: EngineRequest): string | null {
    const { origin, host, "x-forwarded-host": forwarded } = request.headers as IncomingHttpHeaders;
    const asked = config.TRUST_PROXY && typeof forwarded === "string" ? forwarded : host;
    if (!isAllowedOrigin(origin, asked, config.ALLOWED_ORIGINS)) {
      logRefused(origin);
      connectionsRefused.inc({ reason: "origin" });
      return "origin not allowed";
    }
    if (!connections.isFull(networkOfRequest(request, config.TRUST_PROXY))) return null;
    connectionsRefused.inc({ reason: "network" });
    return "too many connections of this network";
  }

  return new Server({
    transports: config.SOCKET_TRANSPORTS,
    parser: textParser,
    serveClient: false,
    perMessageDeflate: false,
    maxHttpBufferSize: MAX_FRAME_BYTES,
    pingInterval: PING_INTERVAL_MS,
    pingTimeout: PING_TIMEOUT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    // Polling alone needs it, and it makes every request, and every connection for good, carry a response of its own.
    ...(config.SOCKET_TRANSPORTS.includes("polling") && {
      cors: { origin: config.ALLOWED_ORIGINS.includes("*") ? "*" : [...config.ALLOWED_ORIGINS] },
    }),
    allowRequest: (request, decide) => {
      const judged: { refusal: string | null } = { refusal: "the request could not be read" };
      guard({ disconnect: () => undefined }, () => {
        judged.refusal = refusalOf(request as never);
      });
      decide(judged.refusal, judged.refusal === null);
    },
  });
}

/** Socket.IO always opens the namespace `/`, and would keep every socket that connects to it, without token and limit. */
function refuseRootNamespace(io: Server): void {
  io.use((_socket, next) => {
    const wire: WireError = {
      code: "not_found",
      message: "There is nothing here; the namespaces are /player, /dashboard and /rtmp.",
    };
    next(Object.assign(new Error(wire.message), { data: wire }));
  });
}

/** Engine.IO's socket, with fields that are not public. */
interface EngineConnection extends Omit<CountedConnection, "remoteAddress"> {
  request: EngineRequest | null;
  remoteAddress: string;
  transport: { removeAllListeners(event: string): void };
}

interface EngineRequest {
  headers: Record<string, string | string[] | undefined>;
  connection: { remoteAddress: string };
}

function networkOfRequest({ headers, connection }: EngineRequest, trustProxy: boolean): string {
  const forwarded = headers["x-forwarded-for"];
  const forwardedFor = Array.isArray(forwarded) ? forwarded.join() : forwarded;
  return networkOf({ remoteAddress: connection.remoteAddress, forwardedFor }, { trustProxy });
}

/** Lets go of the upgrade's request, which Engine.IO would keep as long as the connection. Only the address is needed later. */
function forgetRequest(connection: EngineConnection, trustProxy: boolean, guard: SocketGuard): void {
  if (connection.request !== null) connection.remoteAddress = networkOfRequest(connection.request, trustProxy);
  setImmediate(() =>
    guard({ disconnect: () => connection.close(true) }, () => {
      connection.request = null;
      connection.transport.removeAllListeners("headers");
    }),
  );
}
