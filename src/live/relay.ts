import { type Bus, type ChangedKey, type ChangedStream, channels } from "./bus.ts";

/*
 * Turns notifications of the database into messages on the bus. A notification names keys, never state; where too
 * many rows changed at once it names only their course.
 */

/** What notify_changes (migrations) sends. A thousand keys come at once, so they are not taken apart to be validated. */
type Payload =
  | { keys: [courseId: string, lessonId: string, fileId: string, userId: string, version: number][] }
  | { again: string };

/**
 * Handles a payload of the channel `progress`.
 * @returns the keys that changed; null where there were too many to name
 * @throws SyntaxError, TypeError for what the triggers would never send
 */
export function relayProgress(bus: Bus, payload: string): ChangedKey[] | null {
  const parsed = JSON.parse(payload) as Payload;
  if ("again" in parsed) {
    bus.publish(channels.course(parsed.again), { type: "again" });
    bus.publish(channels.users, { type: "again" });
    return null;
  }
  const byCourse = new Map<string, ChangedKey[]>();
  for (const [courseId, lessonId, fileId, userId, version] of parsed.keys) {
    const key = { courseId, lessonId, fileId, userId, version };
    const keys = byCourse.get(courseId);
    if (keys === undefined) byCourse.set(courseId, [key]);
    else keys.push(key);
    bus.publish(channels.user(userId), { type: "changed", keys: [key] });
  }
  for (const [courseId, keys] of byCourse) bus.publish(channels.course(courseId), { type: "changed", keys });
  return [...byCourse.values()].flat();
}

/** What the triggers on `streams` (migrations) send. */
type StreamsPayload = { keys: [streamId: string, version: number][] } | { again: true };

/** Handles a payload of the channel `streams`. @throws SyntaxError, TypeError for what the triggers would never send */
export function relayStreams(bus: Bus, payload: string): void {
  const parsed = JSON.parse(payload) as StreamsPayload;
  if ("again" in parsed) {
    bus.publish(channels.streams, { type: "again" });
    return;
  }
  const keys = parsed.keys.map(([streamId, version]): ChangedStream => ({ streamId, version }));
  bus.publish(channels.streams, { type: "streams", keys });
}
