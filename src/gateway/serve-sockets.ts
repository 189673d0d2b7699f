import type { VerifyToken } from "../auth/caller.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import type { Config } from "../config.ts";
import { createCallLimits } from "../limits/call-limits.ts";
import type { LiveHub } from "../live/hub/live-hub.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { ProgressService } from "../progress/progress-service.ts";
import type { GatewaySocket } from "./call.ts";
import { type Dashboards, serveDashboards } from "./dashboard-namespace.ts";
import { countRefusals, createHandshake } from "./handshake.ts";
import type { Sockets } from "./open-sockets.ts";
import { type DeviceFollower, servePlayers } from "./player-namespace.ts";
import { type RtmpNamespaceParts, serveMediaServers } from "./rtmp-namespace.ts";
import { createSocketGuard } from "./socket-guard.ts";

/** The parts that answer the calls of sockets. */
export interface GatewayParts {
  config: Pick<
    Config,
    "RATE_LIMIT_BURST" | "RATE_LIMIT_PER_SECOND" | "MAX_CONNECTIONS_PER_USER" | "RTMP_SECRETS" | "DRAIN_MS"
  >;
  verifyToken: VerifyToken;
  catalogue: Pick<Catalogue, "findCourse" | "findLesson" | "findFile">;
  progress: ProgressService;
  live: { hub: LiveHub; devices: DeviceFollower };
  streams: Pick<RtmpNamespaceParts, "gate" | "findDrops"> & { exists(streamId: string): Promise<boolean> };
  metrics: Metrics;
  logger: Logger;
}

export interface Gateway extends Dashboards {
  readonly isDraining: boolean;
  /** Ends the sockets of these users, who were deleted. */
  endUsers(isEnded: (userId: string) => boolean): void;
  /** Open sockets. */
  connections(): number;
  /** Admits nobody from now on, and tells every client to come back, each after its own share of `DRAIN_MS`. */
  drain(): void;
}

/** Serves the calls of every namespace: who is let in, and which part answers. */
export function serveSockets(sockets: Sockets, parts: GatewayParts): Gateway {
  const { config, verifyToken, catalogue, progress, live, streams, metrics, logger } = parts;
  const namespaces = [sockets.players, sockets.dashboards, sockets.mediaServers];
  let draining = false;
  const isDraining = () => draining;
  const tokens = createHandshake({
    verifyToken,
    connections: sockets.connections,
    maxConnectionsPerUser: config.MAX_CONNECTIONS_PER_USER,
    isDraining,
    logger,
  });
  const handshake = countRefusals(tokens, metrics);
  const guard = createSocketGuard(logger);
  const limits = createCallLimits({ burst: config.RATE_LIMIT_BURST, perSecond: config.RATE_LIMIT_PER_SECOND });
  const common = { handshake, verifyToken, limits, metrics, logger };
  servePlayers(sockets.players, { ...common, progress, devices: live.devices });
  const dashboards = serveDashboards(sockets.dashboards, {
    ...common,
    hub: live.hub,
    outlet: sockets.outlet,
    catalogue,
    hasStream: streams.exists,
  });
  serveMediaServers(sockets.mediaServers, { ...streams, secrets: config.RTMP_SECRETS, isDraining, metrics, logger });

  return {
    recheck: dashboards.recheck,
    get isDraining() {
      return draining;
    },
    endUsers(isEnded) {
      for (const { sockets: all } of [sockets.players, sockets.dashboards]) {
        // A copy, because every end changes the map.
        for (const socket of [...all.values()] as unknown as GatewaySocket[]) {
          if (!isEnded(socket.data.caller.userId)) continue;
          socket.emit("server:disconnect", { code: "unauthenticated" } as never);
          guard(socket, () => socket.disconnect(true));
        }
      }
    },
    connections: () => namespaces.reduce((sum, namespace) => sum + namespace.sockets.size, 0),
    drain() {
      draining = true;
      for (const namespace of namespaces) namespace.emit("server:draining", { reconnectInMs: config.DRAIN_MS });
    },
  };
}
