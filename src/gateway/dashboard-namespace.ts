import type { Namespace } from "socket.io";
import type { Catalogue } from "../catalogue/catalogue.ts";
import type { LiveHub } from "../live/hub/live-hub.ts";
import { Subscribe } from "../protocol/dashboard.ts";
import { type CallParts, CallTable, type GatewaySocket } from "./call.ts";
import type { Handshake } from "./handshake.ts";
import type { SocketOutlet } from "./outlet.ts";
import { createSocketGuard } from "./socket-guard.ts";
import { keepTokenSessions, type TokenSessionParts } from "./token-session.ts";
import { TopicSubscriptions } from "./topic-subscriptions.ts";

export interface DashboardNamespaceParts extends CallParts, Pick<TokenSessionParts, "verifyToken"> {
  handshake: Handshake;
  hub: LiveHub;
  outlet: SocketOutlet;
  catalogue: Pick<Catalogue, "findCourse" | "findLesson" | "findFile">;
  hasStream(streamId: string): Promise<boolean>;
}

export interface Dashboards {
  /** Checks again who may watch the course's topics: the course has changed, perhaps its instructor. */
  recheck(courseId: string): void;
}

/** Serves dashboards: they subscribe to topics, and frames follow. */
export function serveDashboards(namespace: Namespace, parts: DashboardNamespaceParts): Dashboards {
  const { hub, outlet, catalogue, hasStream, metrics, logger } = parts;
  const guard = createSocketGuard(logger);
  const subscriptions = new TopicSubscriptions({ hub, outlet, guard, facts: { ...catalogue, hasStream } });

  const calls = new CallTable("/dashboard", parts);
  const watchToken = keepTokenSessions(calls, {
    verifyToken: parts.verifyToken,
    guard,
    onRefreshed: (socket) => subscriptions.recheck(socket, socket.data.topics),
  });
  calls.on("subscribe", Subscribe, ({ topic }, socket) => subscriptions.subscribe(socket, topic), {
    after: ({ topic }, socket) => hub.ready(topic, socket.id),
  });
  calls.on("unsubscribe", Subscribe, ({ topic }, socket) => {
    subscriptions.unsubscribe(socket, topic);
    return {};
  });

  namespace.use(parts.handshake as never);
  function serve(socket: GatewaySocket): void {
    socket.data.topics = new Set();
    metrics.sockets.inc({ namespace: "/dashboard" });
    socket.on("disconnect", (reason) =>
      guard(socket, () => {
        metrics.sockets.dec({ namespace: "/dashboard" });
        metrics.disconnects.inc({ reason });
        subscriptions.unsubscribeAll(socket);
      }),
    );
    watchToken(socket);
    calls.serve(socket);
  }
  namespace.on("connection", (raw) => guard(raw, () => serve(raw as unknown as GatewaySocket)));

  async function recheckEach(topicsOf: (socket: GatewaySocket) => Iterable<string>): Promise<void> {
    for (const raw of namespace.sockets.values()) {
      const socket = raw as unknown as GatewaySocket;
      await subscriptions.recheck(socket, topicsOf(socket));
    }
  }

  function recheckAll(topicsOf: (socket: GatewaySocket) => Iterable<string>): void {
    recheckEach(topicsOf).catch((error: unknown) => logger.error({ err: error }, "rights could not be checked again"));
  }

  // A course may have got another instructor while no notification arrived.
  hub.onResync(() => recheckAll((socket) => socket.data.topics));
  return { recheck: (courseId) => recheckAll((socket) => hub.topicsOfCourse(courseId, socket.data.topics)) };
}
