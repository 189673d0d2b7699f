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

/** Reports the player of an accepted heartbeat as present, unless the heartbeat is too old to say so. */
export function reportBeat(hub: Pick<LiveHub, "report">, { userId, file, beat, leaseMs }: AcceptedBeat): void {
  const { position, state = "playing", rate = 1, ageMs = 0 } = beat;
  // An offline player sends old heartbeats when it is back. A paused player counts its age from the pause: it is there.
  if (ageMs > leaseMs && state !== "paused") return;
  const { courseId, lessonId, fileId } = file;
  hub.report({ courseId, lessonId, fileId, userId, position, state, rate, ageMs, leaseMs });
}
