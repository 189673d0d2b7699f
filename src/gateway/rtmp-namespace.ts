import type { Namespace, Socket } from "socket.io";
import { isOneOf } from "../auth/secret-check.ts";
import { AppError } from "../errors.ts";
import { createCallLimits } from "../limits/call-limits.ts";
import { createRateLimit, type RateLimit } from "../limits/rate-limit.ts";
import type { StreamDrop } from "../protocol/stream.ts";
import { MediaServerAuth, StreamEnded, StreamStarted, StreamStats, StreamValidate } from "../protocol/stream.ts";
import type { PublishGate } from "../streams/publish-gate.ts";
import { toServerIdentity } from "../streams/server-identity.ts";
import type { SessionDrop } from "../streams/sessions/session-drop.ts";
import { type CallParts, CallTable, type GatewaySocket } from "./call.ts";
import { NamespaceFrames } from "./direct-frames.ts";
import { asHandshake, countRefusals } from "./handshake.ts";
import { createSocketGuard, type SocketGuard } from "./socket-guard.ts";

/** A media server asks and reports for all its encoders. A thousand encoders need far fewer calls. */
const LIMITS = { burst: 20_000, perSecond: 2000 };
/** Limits the wrong secrets of one address. A right secret is always accepted. */
const WRONG_SECRETS = { burst: 20, perSecond: 20 / 60 };
const RETRY_MS = 1000;

export interface RtmpNamespaceParts extends Omit<CallParts, "limits"> {
  /** Every one of them lets a media server in. */
  secrets: readonly string[];
  gate: PublishGate;
  /** Finds the sessions that a media server must end, and was not told of while it was away. */
  findDrops(server: { name: string; boot: string }): Promise<SessionDrop[]>;
  isDraining: () => boolean;
}

/** A media server as it named itself at the handshake. */
interface ConnectedServer {
  /** Its identity (server-identity.ts). */
  name: string;
  boot: string;
}

/** Serves media servers: they ask whether a key may publish, and report on the stream. */
export function serveMediaServers(namespace: Namespace, parts: RtmpNamespaceParts): void {
  const { gate, metrics, logger } = parts;
  const guard = createSocketGuard(logger);
  const servers = new WeakMap<GatewaySocket, ConnectedServer>();
  const serverOf = (socket: GatewaySocket) => servers.get(socket) as ConnectedServer;

  const calls = new CallTable("/rtmp", { limits: createCallLimits(LIMITS), metrics, logger }, (socket) => ({
    userId: serverOf(socket).name,
  }));
  calls.onFrequent("stream:validate", StreamValidate, (request, socket, answer) => {
    gate.validate(serverOf(socket), request).then(
      (verdict) => answer.give(verdict),
      (error: unknown) => answer.refuse(error),
    );
  });
  calls.on("stream:started", StreamStarted, async ({ sessionId }, socket) => ({
    stream: await gate.started(serverOf(socket), sessionId),
  }));
  calls.on("stream:stats", StreamStats, async ({ sessionId, ...figures }, socket) => {
    await gate.report(serverOf(socket), sessionId, figures);
    return {};
  });
  calls.on("stream:ended", StreamEnded, async ({ sessionId, reason }, socket) => ({
    stream: await gate.ended(serverOf(socket), sessionId, reason),
  }));

  const validations = new NamespaceFrames("/rtmp", "stream:validate", calls, { gathersAcks: guard });
  const limitWrongSecrets = createRateLimit(WRONG_SECRETS);
  const admit = async (socket: GatewaySocket) => {
    servers.set(socket, await identify(socket, parts.secrets, limitWrongSecrets));
  };
  namespace.use(countRefusals(asHandshake(admit, parts), metrics) as never);
  function serve(raw: Socket, socket: GatewaySocket): void {
    metrics.sockets.inc({ namespace: "/rtmp" });
    socket.on("disconnect", (reason) =>
      guard(socket, () => {
        metrics.sockets.dec({ namespace: "/rtmp" });
        metrics.disconnects.inc({ reason });
      }),
    );
    void socket.join(roomOf(serverOf(socket)));
    calls.serve(socket);
    validations.serve(socket);
    tellMissedDrops(raw, serverOf(socket), { ...parts, guard });
  }
  namespace.on("connection", (raw) => guard(raw, () => serve(raw, raw as unknown as GatewaySocket)));
}

/** Checks the secret of a handshake. @throws AppError `unauthenticated`, `bad_request`, `rate_limited` */
async function identify(
  socket: GatewaySocket,
  secrets: readonly string[],
  limitWrongSecrets: RateLimit,
): Promise<ConnectedServer> {
  const given = MediaServerAuth.safeParse(socket.handshake.auth);
  if (given.success && isOneOf(given.data.secret, secrets)) {
    const { server, boot } = given.data;
    // Without a name a media server cannot be recognized, so each of its connections counts as another server.
    const isNamed = server !== undefined;
    return {
      name: toServerIdentity("rtmp", isNamed ? server : `unnamed-${socket.id}`),
      boot: isNamed ? (boot ?? "") : "",
    };
  }
  await limitWrongSecrets(socket.handshake.address);
  if (!given.success && (socket.handshake.auth as { secret?: unknown }).secret !== undefined) {
    throw new AppError(
      "bad_request",
      "The handshake is malformed; expected `auth: { secret, server?, boot? }`, all text.",
    );
  }
  throw new AppError(
    "unauthenticated",
    secrets.length === 0
      ? "No media server may connect: the server has no RTMP_SECRETS."
      : "The handshake carries no valid secret; pass `auth: { secret, server, boot }` with one of RTMP_SECRETS.",
  );
}

/** Tells a server the drops that it missed. Tries until it succeeds: a media server that is not told goes on publishing. */
function tellMissedDrops(
  socket: Socket,
  server: ConnectedServer,
  parts: Pick<RtmpNamespaceParts, "findDrops" | "logger"> & { guard: SocketGuard },
): void {
  if (!socket.connected) return;
  parts.findDrops(server).then(
    (missed) => {
      for (const drop of missed) socket.emit("stream:drop", toWire(drop));
    },
    (error: unknown) => {
      parts.logger.warn(
        { err: error, server: server.name },
        "the drops that a media server missed could not be read; tried again in a second",
      );
      setTimeout(() => parts.guard(socket, () => tellMissedDrops(socket, server, parts)), RETRY_MS).unref();
    },
  );
}

/** Tells the session's media server to end it, if the server is connected to this process. */
export function tellMediaServer(namespace: Namespace, drop: SessionDrop): void {
  namespace.to(roomOf({ name: drop.server, boot: drop.boot })).emit("stream:drop", toWire(drop));
}

function roomOf({ name, boot }: ConnectedServer): string {
  return `${name}\u0000${boot}`;
}

function toWire({ sessionId, reason }: SessionDrop): StreamDrop {
  return { sessionId, reason };
}
