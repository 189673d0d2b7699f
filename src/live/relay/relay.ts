import type { Bus, ChangedKey, ChangedStream } from "../bus/bus.ts";
import { channels } from "../bus/channels.ts";

/*
 * Turns notifications of the database into messages on the bus. A notification names rows, never their state. Where
 * too many rows changed at once it names only their course.
 */

/** What the triggers on `user_progress` send. There may be a thousand keys at once, so they are not validated one by one. */
type ProgressPayload =
  | { keys: [courseId: string, lessonId: string, fileId: string, userId: string, version: number][] }
  | { again: string };

/**
 * Handles a payload of the channel `progress`.
 * @returns the keys that changed; null where there were too many to name
 * @throws SyntaxError, TypeError for a payload that the triggers never send
 */
export function relayProgress(bus: Bus, payload: string): readonly ChangedKey[] | null {
  const parsed = JSON.parse(payload) as ProgressPayload;
  if ("again" in parsed) {
    bus.publish(channels.course(parsed.again), { type: "again" });
    bus.publish(channels.users, { type: "again" });
    return null;
  }
  const keys = parsed.keys.map(
    ([courseId, lessonId, fileId, userId, version]): ChangedKey => ({ courseId, lessonId, fileId, userId, version }),
  );
  bus.publishChanges(keys);
  return keys;
}

/** What the triggers on `streams` send. */
type StreamsPayload = { keys: [streamId: string, version: number][] } | { again: true };

/** Handles a payload of the channel `streams`. @throws SyntaxError, TypeError for a payload that the triggers never send */
export function relayStreams(bus: Bus, payload: string): void {
  const parsed = JSON.parse(payload) as StreamsPayload;
  if ("again" in parsed) {
    bus.publish(channels.streams, { type: "again" });
    return;
  }
  const keys = parsed.keys.map(([streamId, version]): ChangedStream => ({ streamId, version }));
  bus.publish(channels.streams, { type: "streams", keys });
}
