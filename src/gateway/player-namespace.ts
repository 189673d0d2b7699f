import type { Namespace } from "socket.io";
import type { ProgressService } from "../progress/progress-service.ts";
import { Heartbeat, Heartbeats } from "../protocol/heartbeat.ts";
import { ProgressQuestion, ProgressTarget } from "../protocol/progress.ts";
import { type CallParts, CallTable, type GatewaySocket } from "./call.ts";
import type { Handshake } from "./handshake.ts";
import { keepTokenSession, type TokenSessionParts } from "./token-session.ts";

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
  namespace.use(parts.handshake as never);
  namespace.on("connection", (raw) => {
    const socket = raw as unknown as GatewaySocket;
    const { userId } = socket.data.caller;
    const source = { userId, connectionId: socket.id };
    const calls = new CallTable(socket, parts);
    metrics.sockets.inc({ namespace: "/player" });
    progress.contact(userId);
    devices.add(userId, socket.id);
    socket.on("disconnect", (reason) => {
      metrics.sockets.dec({ namespace: "/player" });
      metrics.disconnects.inc({ reason });
      devices.remove(userId, socket.id);
    });
    keepTokenSession(socket, calls, { verifyToken: parts.verifyToken, onRefreshed: () => undefined });

    calls.on("heartbeat", Heartbeat, async (beat) => {
      const result = await progress.heartbeat(source, beat);
      devices.told(userId, socket.id, beat.fileId, result.progress.version);
      return result;
    });
    calls.on("heartbeats", Heartbeats, async ({ beats }) => {
      const results = await progress.heartbeats(source, beats);
      for (const result of results) {
        if (result.ok) devices.told(userId, socket.id, result.progress.fileId, result.progress.version);
      }
      return { results };
    });
    calls.on("progress:get", ProgressQuestion, async (target) => ({
      progress:
        "fileId" in target
          ? await progress.readFile(userId, target.fileId, target.minVersion)
          : await progress.readCourse(userId, target.courseId, target.minVersion),
    }));
    calls.on("progress:reset", ProgressTarget, async (target) => {
      await progress.reset(userId, target, userId);
      return {};
    });
  });
}
