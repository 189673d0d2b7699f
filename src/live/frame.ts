import type { Present, Update } from "../protocol/dashboard.ts";
import { type Entry, toLists } from "./backlog.ts";
import type { Room } from "./room.ts";
import { isOfStreams } from "./topic-view.ts";

/** What besides rows a room, or a member that is served alone, is owed by its next frame. */
type Owed = Pick<Room, "viewersChanged" | "totals" | "beginsAnew" | "owesBehind">;

/** Builds a frame, and settles what was owed. */
export function toFrame(room: Room, owed: Owed, entries: readonly Entry[], countViewers: () => number): Update {
  const update: Update = { topic: room.name, at: new Date().toISOString(), ...toLists(entries) };
  if (owed.viewersChanged && !isOfStreams(room.topic)) update.viewers = countViewers();
  if (owed.totals !== null) update.totals = owed.totals;
  if (owed.beginsAnew) update.snapshot = true;
  if (owed.owesBehind || (owed.beginsAnew && room.isBehind)) update.behind = room.isBehind;
  owed.viewersChanged = false;
  owed.totals = null;
  owed.beginsAnew = false;
  owed.owesBehind = false;
  return update;
}

/** The rows of a snapshot as entries of a backlog. */
export function toEntries(rows: Pick<Update, "progress" | "lessons" | "courses" | "streams">): Entry[] {
  return Object.entries(rows).flatMap(([field, values]) => values.map((value) => ({ field, value }) as Entry));
}

export function toEntry(present: Present): Entry {
  return { field: "present", value: present, seenAt: performance.now() - present.ageMs };
}
