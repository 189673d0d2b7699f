import { Server } from "socket.io";
import type { VerifyToken } from "../auth/caller.ts";
import { isAllowedOrigin } from "../auth/origins.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import type { Config } from "../config.ts";
import type { WireError } from "../errors.ts";
import { createCallLimits } from "../limits/call-limits.ts";
import { networkOf } from "../limits/network-address.ts";
import type { LiveHub } from "../live/live-hub.ts";
import type { Outlet } from "../live/outlet.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { ProgressService } from "../progress/progress-service.ts";
import type { FileProgress } from "../protocol/progress.ts";
import type { Drop } from "../streams/claim.ts";
import { countOversizedFrames } from "../uws/oversized-frames.ts";
import type { TemplatedApp } from "../uws/uws.ts";
import { type Dashboards, serveDashboards } from "./dashboard-namespace.ts";
import { readDirectFrames } from "./direct-frames.ts";
import { createHandshake } from "./handshake.ts";
import { createOutlet } from "./outlet.ts";
import { skipOwnRooms } from "./own-rooms.ts";
import { type DeviceFollower, servePlayers } from "./player-namespace.ts";
import { type RtmpNamespaceParts, serveMediaServers, tellMediaServer } from "./rtmp-namespace.ts";
import { textParser } from "./text-parser.ts";

/*
 * Socket.IO on uWebSockets.js. Socket.IO patches its adapter for the whole process when it is attached: one gateway a
 * process.
 */

/** uWebSockets.js closes a socket that sends a larger frame, without a word; here it is counted. */
export const MAX_FRAME_BYTES = 64 * 1024;
/** Longer than 20 s together: a page that stands still for so long is still there. */
const PING_INTERVAL_MS = 15_000;
const PING_TIMEOUT_MS = 20_000;
/** Who upgrades and says nothing. */
const CONNECT_TIMEOUT_MS = 5000;

export interface GatewayParts {
  app: TemplatedApp;
  config: Config;
  verifyToken: VerifyToken;
  progress: ProgressService;
  catalogue: Pick<Catalogue, "findCourse" | "findLesson" | "findFile">;
  metrics: Metrics;
  logger: Logger;
}

export interface ServedParts {
  hub: LiveHub;
  devices: DeviceFollower;
  streams: Pick<RtmpNamespaceParts, "gate" | "findDrops"> & { exists(streamId: string): Promise<boolean> };
}

export interface Gateway extends Dashboards {
  outlet: Outlet;
  tellDevice(socketId: string, progress: FileProgress): void;
  /** Tells a media server that is connected here to end a session. */
  tellMediaServer(drop: Drop): void;
  /** Opens the namespaces; the hub, the followers and the streams need the ways out first. */
  serve(parts: ServedParts): void;
  /** Open sockets. */
  connections(): number;
  /** Tells every client to come back, each after its own share of the time. */
  drain(): void;
  stop(): Promise<void>;
}

export function createGateway(parts: GatewayParts): Gateway {
  const { config, metrics, logger } = parts;
  const io = createServer(config);
  countOversizedFrames(parts.app, metrics.oversizedFrames);
  readDirectFrames(parts.app);
  io.attachApp(parts.app, { maxBackpressure: config.MAX_BACKPRESSURE_BYTES } as never);
  io.engine.on("connection", (connection: EngineConnection) => forgetRequest(connection, config.TRUST_PROXY));
  const players = io.of("/player");
  const dashboards = io.of("/dashboard");
  const mediaServers = io.of("/rtmp");
  const namespaces = [players, dashboards, mediaServers];
  for (const namespace of namespaces) skipOwnRooms(namespace);
  // Socket.IO always opens it, and would keep whoever connects to it, with no token and no limit.
  io.use((_socket, next) => {
    const wire: WireError = {
      code: "not_found",
      message: "There is nothing here; the namespaces are /player, /dashboard and /rtmp.",
    };
    next(Object.assign(new Error(wire.message), { data: wire }));
  });
  let draining = false;
  let served: Dashboards | null = null;

  return {
    outlet: createOutlet(parts.app, dashboards),

    tellDevice(socketId, progress) {
      players.sockets.get(socketId)?.emit("progress", progress);
    },

    tellMediaServer: (drop) => tellMediaServer(mediaServers, drop),

    serve({ hub, devices, streams }) {
      const limits = createCallLimits({ burst: config.RATE_LIMIT_BURST, perSecond: config.RATE_LIMIT_PER_SECOND });
      const { verifyToken } = parts;
      const handshake = createHandshake({
        verifyToken,
        maxConnectionsPerUser: config.MAX_CONNECTIONS_PER_USER,
        isDraining: () => draining,
        logger,
      });
      serveMediaServers(mediaServers, {
        ...streams,
        secrets: config.RTMP_SECRETS,
        isDraining: () => draining,
        metrics,
        logger,
      });
      const common = { handshake, verifyToken, limits, metrics, logger };
      servePlayers(players, { ...common, progress: parts.progress, devices });
      served = serveDashboards(dashboards, { ...common, hub, catalogue: parts.catalogue, hasStream: streams.exists });
    },

    recheck: async (courseId) => served?.recheck(courseId),

    connections: () => namespaces.reduce((sum, { sockets }) => sum + sockets.size, 0),

    drain() {
      draining = true;
      for (const namespace of namespaces) namespace.emit("server:draining", { reconnectInMs: config.DRAIN_MS });
    },

    async stop() {
      draining = true;
      await io.close();
    },
  };
}

function createServer(config: Config): Server {
  return new Server({
    transports: config.SOCKET_TRANSPORTS,
    parser: textParser,
    serveClient: false,
    perMessageDeflate: false,
    maxHttpBufferSize: MAX_FRAME_BYTES,
    pingInterval: PING_INTERVAL_MS,
    pingTimeout: PING_TIMEOUT_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    // For polling alone: it makes every request, and for good every connection, carry a response of its own.
    ...(config.SOCKET_TRANSPORTS.includes("polling") && {
      cors: { origin: config.ALLOWED_ORIGINS.includes("*") ? "*" : [...config.ALLOWED_ORIGINS] },
    }),
    allowRequest: (request, decide) => {
      const { origin, host, "x-forwarded-host": forwarded } = request.headers;
      const asked = config.TRUST_PROXY && typeof forwarded === "string" ? forwarded : host;
      const allowed = isAllowedOrigin(origin, asked, config.ALLOWED_ORIGINS);
      decide(allowed ? null : "origin not allowed", allowed);
    },
  });
}

/** Engine.IO's socket, with what is not public. */
interface EngineConnection {
  request: { headers: Record<string, string | string[] | undefined> } | null;
  remoteAddress: string;
  transport: { removeAllListeners(event: string): void };
}

/** The upgrade's request is kept for the life of a connection otherwise. Of its headers one is needed later. */
function forgetRequest(connection: EngineConnection, trustProxy: boolean): void {
  const forwarded = connection.request?.headers["x-forwarded-for"];
  const forwardedFor = Array.isArray(forwarded) ? forwarded.join() : forwarded;
  connection.remoteAddress = networkOf({ remoteAddress: connection.remoteAddress, forwardedFor }, { trustProxy });
  setImmediate(() => {
    connection.request = null;
    connection.transport.removeAllListeners("headers");
  });
}
