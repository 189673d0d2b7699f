import type { Namespace } from "socket.io";
import type { Caller } from "../auth/caller.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import { AppError, toWireError } from "../errors.ts";
import type { LiveHub } from "../live/live-hub.ts";
import { parseTopic, Subscribe, TOPIC_FORMS, type Topic } from "../protocol/dashboard.ts";
import { type CallParts, CallTable, type GatewaySocket } from "./call.ts";
import type { Handshake } from "./handshake.ts";
import { keepTokenSessions, type TokenSessionParts } from "./token-session.ts";
import { authorizeTopic, type TopicFacts } from "./topic-rights.ts";

/** After so long, rights that could not be checked are checked again. */
const RECHECK_MS = 2000;
/** How many topics one connection may watch. */
const MAX_TOPICS = 100;

export interface DashboardNamespaceParts extends CallParts, Pick<TokenSessionParts, "verifyToken"> {
  handshake: Handshake;
  hub: LiveHub;
  catalogue: Pick<Catalogue, "findCourse" | "findLesson" | "findFile">;
  hasStream(streamId: string): Promise<boolean>;
}

export interface Dashboards {
  /** Checks again who may watch the course's topics: the course has changed, perhaps its instructor. */
  recheck(courseId: string): void;
}

/** Serves dashboards: they subscribe to topics, and frames follow. */
export function serveDashboards(namespace: Namespace, parts: DashboardNamespaceParts): Dashboards {
  const { hub, metrics } = parts;
  const facts: TopicFacts = { ...parts.catalogue, hasStream: parts.hasStream };

  async function subscribe(socket: GatewaySocket, name: string): Promise<object> {
    const topic = toTopic(name);
    if (!socket.data.topics.has(name) && socket.data.topics.size >= MAX_TOPICS) {
      throw new AppError(
        "bad_request",
        `A connection may watch ${MAX_TOPICS} topics; unsubscribe from one, or open another connection.`,
      );
    }
    const courseId = await authorizeTopic(socket.data.caller, topic, facts);
    socket.data.topics.add(name);
    try {
      const snapshot = await hub.subscribe(name, topic, courseId, socket);
      if (!socket.connected) hub.unsubscribe(name, socket.id);
      // The course may have changed hands while its state was read.
      await authorizeTopic(socket.data.caller, topic, facts);
      return { topic: name, snapshot };
    } catch (error) {
      unsubscribe(socket, name);
      throw error;
    }
  }

  function unsubscribe(socket: GatewaySocket, name: string): void {
    socket.data.topics.delete(name);
    hub.unsubscribe(name, socket.id);
  }

  /** Unsubscribes the socket from topics that it may no longer watch. A right that cannot be checked now is checked later. */
  async function recheckSocket(socket: GatewaySocket, names: Iterable<string>): Promise<void> {
    const undecided: string[] = [];
    for (const name of [...names]) {
      const refusal = await refusalOf(socket.data.caller, toTopic(name), facts);
      if (refusal === null) continue;
      if (refusal.code === "internal" || refusal.code === "unavailable") undecided.push(name);
      else {
        unsubscribe(socket, name);
        socket.emit("unsubscribed", { topic: name, error: refusal } as never);
      }
    }
    if (undecided.length === 0 || !socket.connected) return;
    setTimeout(() => void recheckSocket(socket, undecided), RECHECK_MS).unref(); // never rejects
  }

  const calls = new CallTable("/dashboard", parts);
  const watchToken = keepTokenSessions(calls, {
    verifyToken: parts.verifyToken,
    onRefreshed: (socket) => recheckSocket(socket, socket.data.topics),
  });
  calls.on(
    "subscribe",
    Subscribe,
    ({ topic }, socket) => subscribe(socket, topic),
    ({ topic }, socket) => hub.ready(topic, socket.id),
  );
  calls.on("unsubscribe", Subscribe, ({ topic }, socket) => {
    toTopic(topic);
    unsubscribe(socket, topic);
    return {};
  });

  namespace.use(parts.handshake as never);
  namespace.on("connection", (raw) => {
    const socket = raw as unknown as GatewaySocket;
    socket.data.topics = new Set();
    metrics.sockets.inc({ namespace: "/dashboard" });
    socket.on("disconnect", (reason) => {
      metrics.sockets.dec({ namespace: "/dashboard" });
      metrics.disconnects.inc({ reason });
      for (const name of socket.data.topics) hub.unsubscribe(name, socket.id);
      socket.data.topics.clear();
    });
    watchToken(socket);
    calls.serve(socket);
  });

  async function recheckEach(topicsOf: (socket: GatewaySocket) => Iterable<string>): Promise<void> {
    for (const raw of namespace.sockets.values()) {
      const socket = raw as unknown as GatewaySocket;
      await recheckSocket(socket, topicsOf(socket));
    }
  }

  function recheckAll(topicsOf: (socket: GatewaySocket) => Iterable<string>): void {
    recheckEach(topicsOf).catch((error: unknown) => {
      parts.logger.error({ err: error }, "rights could not be checked again");
    });
  }

  // A course may have changed hands while nobody listened.
  hub.onResync(() => recheckAll((socket) => socket.data.topics));

  return { recheck: (courseId) => recheckAll((socket) => hub.topicsOfCourse(courseId, socket.data.topics)) };
}

/** @throws AppError `bad_request` */
function toTopic(name: string): Topic {
  const topic = parseTopic(name);
  if (topic !== null) return topic;
  throw new AppError("bad_request", `There is no topic of this form; expected ${TOPIC_FORMS}.`, {
    issues: [{ path: "topic", message: `expected ${TOPIC_FORMS}` }],
  });
}

async function refusalOf(caller: Caller, topic: Topic, facts: TopicFacts) {
  try {
    await authorizeTopic(caller, topic, facts);
    return null;
  } catch (error) {
    return toWireError(error);
  }
}
