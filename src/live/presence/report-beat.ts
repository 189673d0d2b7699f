import type { Heartbeat } from "../../protocol/heartbeat.ts";
import type { LiveHub } from "../hub/live-hub.ts";

/** A heartbeat that the server accepted; it may still fail to become durable. */
export interface AcceptedBeat {
  userId: string;
  file: { courseId: string; lessonId: string; fileId: string };
  beat: Heartbeat;
  /** After so long without another heartbeat the viewer is gone. */
  leaseMs: number;
}

/**
 * Reports the player of an accepted heartbeat as present. A heartbeat that is older than the lease says that the media
 * moved then, not that anybody is there now: an offline player sends such heartbeats when it is back. Where the media
 * stands still, paused or stalled, its age counts from when it stopped, however long ago: the player is there.
 */
export function reportBeat(hub: Pick<LiveHub, "report">, { userId, file, beat, leaseMs }: AcceptedBeat): void {
  const { position, state = "playing", rate = 1, ageMs = 0 } = beat;
  const isMoving = state === "playing" && rate !== 0;
  if (isMoving && ageMs > leaseMs) return;
  const { courseId, lessonId, fileId } = file;
  hub.report({ courseId, lessonId, fileId, userId, position, state, rate, ageMs, leaseMs });
}
