import type { Namespace } from "socket.io";
import type { ProgressService } from "../progress/progress-service.ts";
import { Heartbeat, Heartbeats } from "../protocol/heartbeat.ts";
import { ProgressQuestion, ProgressTarget } from "../protocol/progress.ts";
import { type CallParts, CallTable, type GatewaySocket } from "./call.ts";
import { NamespaceFrames } from "./direct-frames.ts";
import type { Handshake } from "./handshake.ts";
import { keepTokenSessions, type TokenSessionParts } from "./token-session.ts";

/** How the sockets of one user learn what its other devices do. */
export interface DeviceFollower {
  add(userId: string, socketId: string): void;
  remove(userId: string, socketId: string): void;
  /** The socket has this version of the file from its own ack. */
  told(userId: string, socketId: string, fileId: string, version: number): void;
}

export interface PlayerNamespaceParts extends CallParts, Pick<TokenSessionParts, "verifyToken"> {
  handshake: Handshake;
  progress: ProgressService;
  devices: DeviceFollower;
}

/** Video players: heartbeats in, their progress out. */
export function servePlayers(namespace: Namespace, parts: PlayerNamespaceParts): void {
  const { progress, devices, metrics } = parts;
  const calls = new CallTable("/player", parts);
  const watchToken = keepTokenSessions(calls, { verifyToken: parts.verifyToken, onRefreshed: () => undefined });

  calls.onFrequent("heartbeat", Heartbeat, (beat, socket, answer) => {
    const { userId } = socket.data.caller;
    progress.takeHeartbeat({ userId, connectionId: socket.id }, beat, (error, result) => {
      if (result === null) {
        answer.refuse(error);
        return;
      }
      devices.told(userId, socket.id, beat.fileId, result.progress.version);
      answer.give(result);
    });
  });
  calls.on("heartbeats", Heartbeats, async ({ beats }, socket) => {
    const { userId } = socket.data.caller;
    const results = await progress.heartbeats({ userId, connectionId: socket.id }, beats);
    for (const result of results) {
      if (result.ok) devices.told(userId, socket.id, result.progress.fileId, result.progress.version);
    }
    return { results };
  });
  calls.on("progress:get", ProgressQuestion, async (target, { data: { caller } }) => ({
    progress:
      "fileId" in target
        ? await progress.readFile(caller.userId, target.fileId, target.minVersion)
        : await progress.readCourse(caller.userId, target.courseId, target.minVersion),
  }));
  calls.on("progress:reset", ProgressTarget, async (target, { data: { caller } }) => {
    await progress.reset(caller.userId, target, caller.userId);
    return {};
  });

  const heartbeats = new NamespaceFrames("/player", "heartbeat", calls);
  namespace.use(parts.handshake as never);
  namespace.on("connection", (raw) => {
    const socket = raw as unknown as GatewaySocket;
    const { userId } = socket.data.caller;
    metrics.sockets.inc({ namespace: "/player" });
    progress.contact(userId);
    devices.add(userId, socket.id);
    socket.on("disconnect", (reason) => {
      metrics.sockets.dec({ namespace: "/player" });
      metrics.disconnects.inc({ reason });
      devices.remove(userId, socket.id);
    });
    watchToken(socket);
    calls.serve(socket);
    heartbeats.serve(socket);
  });
}
