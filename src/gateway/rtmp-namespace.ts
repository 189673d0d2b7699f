import type { Namespace } from "socket.io";
import { isOneOf } from "../auth/secret-check.ts";
import { AppError } from "../errors.ts";
import { createCallLimits } from "../limits/call-limits.ts";
import { createRateLimit } from "../limits/rate-limit.ts";
import type { StreamDrop } from "../protocol/stream.ts";
import { MediaServerAuth, StreamEnded, StreamStarted, StreamStats, StreamValidate } from "../protocol/stream.ts";
import type { Drop } from "../streams/claim.ts";
import type { PublishGate } from "../streams/publish-gate.ts";
import { type CallParts, CallTable, type GatewaySocket } from "./call.ts";
import { NamespaceFrames } from "./direct-frames.ts";
import { asHandshake } from "./handshake.ts";

/** A server asks and reports for all its encoders; this is far more than a thousand of them do. */
const LIMITS = { burst: 20_000, perSecond: 2000 };
/** Wrong secrets from one address; a right one is always taken. */
const WRONG_SECRETS = { burst: 20, perSecond: 20 / 60 };
const RETRY_MS = 1000;

export interface RtmpNamespaceParts extends Omit<CallParts, "limits"> {
  /** Any of which lets a media server in. */
  secrets: readonly string[];
  gate: PublishGate;
  /** What a server that was away has to end. */
  findDrops(server: { name: string; boot: string }): Promise<Drop[]>;
  isDraining: () => boolean;
}

/** Whoever carries the media: asks whether a key may publish, and says what became of it. */
export function serveMediaServers(namespace: Namespace, parts: RtmpNamespaceParts): void {
  const { gate, metrics, logger } = parts;
  const limits = createCallLimits(LIMITS);
  const limitWrongSecrets = createRateLimit(WRONG_SECRETS);

  async function admit(socket: GatewaySocket): Promise<void> {
    const given = MediaServerAuth.safeParse(socket.handshake.auth);
    if (given.success && isOneOf(given.data.secret, parts.secrets)) {
      const { server, boot } = given.data;
      // A server that does not say who it is cannot be known again: each of its connections is another server.
      serverOf.set(
        socket,
        server === undefined ? { name: `unnamed-${socket.id}`, boot: "" } : { name: server, boot: boot ?? "" },
      );
      return;
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
      parts.secrets.length === 0
        ? "No media server may connect: the server has no RTMP_SECRETS."
        : "The handshake carries no valid secret; pass `auth: { secret, server, boot }` with one of RTMP_SECRETS.",
    );
  }

  const serverOf = new WeakMap<GatewaySocket, { name: string; boot: string }>();

  function nameOf(socket: GatewaySocket): { name: string; boot: string } {
    const server = serverOf.get(socket);
    if (server === undefined) throw new Error("a media server was let in without a name");
    return server;
  }

  const calls = new CallTable("/rtmp", { limits, metrics, logger }, (socket) => ({
    userId: nameOf(socket).name,
    expiresAt: null,
  }));
  calls.onFrequent("stream:validate", StreamValidate, (request, socket, answer) => {
    gate.validate(nameOf(socket), request).then(
      (verdict) => answer.give(verdict),
      (error: unknown) => answer.refuse(error),
    );
  });
  calls.on("stream:started", StreamStarted, async ({ sessionId }, socket) => ({
    stream: await gate.started(nameOf(socket), sessionId),
  }));
  calls.on("stream:stats", StreamStats, async ({ sessionId, ...figures }, socket) => {
    await gate.report(nameOf(socket), sessionId, figures);
    return {};
  });
  calls.on("stream:ended", StreamEnded, async ({ sessionId, reason }, socket) => ({
    stream: await gate.ended(nameOf(socket), sessionId, reason),
  }));

  const validations = new NamespaceFrames("/rtmp", "stream:validate", calls, { gathersAcks: true });
  namespace.use(asHandshake(admit, parts) as never);
  namespace.on("connection", (raw) => {
    const socket = raw as unknown as GatewaySocket;
    const server = nameOf(socket);
    metrics.sockets.inc({ namespace: "/rtmp" });
    socket.on("disconnect", (reason) => {
      metrics.sockets.dec({ namespace: "/rtmp" });
      metrics.disconnects.inc({ reason });
    });
    void socket.join(roomOf(server));

    calls.serve(socket);
    validations.serve(socket);

    /** Until it could be read: a server that is not told goes on publishing. */
    function tellMissed(): void {
      if (!socket.connected) return;
      parts.findDrops(server).then(
        (missed) => {
          for (const drop of missed)
            (raw as { emit(event: string, drop: StreamDrop): void }).emit("stream:drop", toWire(drop));
        },
        (error: unknown) => {
          logger.warn(
            { err: error, server: server.name },
            "what a media server missed could not be read; again in a second",
          );
          setTimeout(tellMissed, RETRY_MS).unref();
        },
      );
    }
    tellMissed();
  });
}

/** Tells the media server whose session it is, where it is connected to this process. */
export function tellMediaServer(namespace: Namespace, drop: Drop): void {
  namespace.to(roomOf({ name: drop.server, boot: drop.boot })).emit("stream:drop", toWire(drop));
}

function roomOf({ name, boot }: { name: string; boot: string }): string {
  return `${name}\u0000${boot}`;
}

function toWire({ sessionId, reason }: Drop): StreamDrop {
  return { sessionId, reason };
}
