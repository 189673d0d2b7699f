import type { Namespace } from "socket.io";
import type { HeartbeatResult, ProgressService } from "../progress/progress-service.ts";
import type { Ack } from "../protocol/ack.ts";
import type { BriefAck } from "../protocol/brief-ack.ts";
import { countBeats, Heartbeat, Heartbeats } from "../protocol/heartbeat.ts";
import { ProgressQuestion, ProgressTarget } from "../protocol/progress.ts";
import { type CallParts, CallTable, type GatewaySocket } from "./call.ts";
import { NamespaceFrames } from "./direct-frames.ts";
import { type Handshake, readAcks } from "./handshake.ts";
import { createSocketGuard } from "./socket-guard.ts";
import { keepTokenSessions, type TokenSessionParts } from "./token-session.ts";

/** Tells the sockets of one user what its other devices do. */
export interface DeviceFollower {
  add(userId: string, socketId: string): void;
  remove(userId: string, socketId: string): void;
  /**
   * Notes that the socket is being sent this version of the file's progress.
   * @returns the newest version that it was sent before; 0 where there was none
   */
  told(userId: string, socketId: string, fileId: string, version: number): number;
}

export interface PlayerNamespaceParts extends CallParts, Pick<TokenSessionParts, "verifyToken"> {
  handshake: Handshake;
  progress: ProgressService;
  devices: DeviceFollower;
}

/** Serves video players: takes their heartbeats, and answers with their progress. */
export function servePlayers(namespace: Namespace, parts: PlayerNamespaceParts): void {
  const { progress, devices, metrics } = parts;
  const calls = new CallTable("/player", parts);
  const guard = createSocketGuard(parts.logger);
  const { verifyToken } = parts;
  const watchToken = keepTokenSessions(calls, { verifyToken, guard, onRefreshed: () => undefined });

  calls.onFrequent("heartbeat", Heartbeat, (beat, socket, answer) => {
    const { caller, wantsBriefAcks } = socket.data;
    progress.takeHeartbeat({ userId: caller.userId, connectionId: socket.id }, beat, (error, durable) => {
      if (durable === null) {
        answer.refuse(error);
        return;
      }
      try {
        const held = devices.told(caller.userId, socket.id, beat.fileId, durable.version);
        answer.give((wantsBriefAcks ? durable.toBrief(held) : null) ?? durable.toWhole());
      } catch (failure) {
        answer.refuse(failure);
      }
    });
  });

  /** Of a batch only results that change nothing more are brief: beats that were written together have one progress. */
  function toBatchResult(result: Ack<HeartbeatResult>, socket: GatewaySocket): Ack<HeartbeatResult | BriefAck> {
    if (!result.ok) return result;
    const { fileId, version, resumeAt } = result.progress;
    const held = devices.told(socket.data.caller.userId, socket.id, fileId, version);
    if (!socket.data.wantsBriefAcks || held !== version) return result;
    return { ok: true, version, resumeAt, nextBeatMs: result.nextBeatMs, ...(result.cut && { cut: result.cut }) };
  }

  calls.on(
    "heartbeats",
    Heartbeats,
    async ({ beats }, socket) => {
      const results = await progress.heartbeats({ userId: socket.data.caller.userId, connectionId: socket.id }, beats);
      return { results: results.map((result) => toBatchResult(result, socket)) };
    },
    { costOf: countBeats },
  );
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
  namespace.use(readAcks as never);
  namespace.use(parts.handshake as never);
  function serve(socket: GatewaySocket): void {
    const { userId } = socket.data.caller;
    metrics.sockets.inc({ namespace: "/player" });
    progress.contact(userId);
    devices.add(userId, socket.id);
    socket.on("disconnect", (reason) =>
      guard(socket, () => {
        metrics.sockets.dec({ namespace: "/player" });
        metrics.disconnects.inc({ reason });
        devices.remove(userId, socket.id);
      }),
    );
    watchToken(socket);
    calls.serve(socket);
    heartbeats.serve(socket);
  }
  namespace.on("connection", (raw) => guard(raw, () => serve(raw as unknown as GatewaySocket)));
}
