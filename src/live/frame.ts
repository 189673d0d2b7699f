import type { Present, Update } from "../protocol/dashboard.ts";
import { type Entry, textOf, toLists } from "./backlog.ts";
import type { Room } from "./room.ts";
import { isOfStreams } from "./topic-view.ts";

/** What besides rows a room, or a member that is served alone, is owed by its next frame. */
type Owed = Pick<Room, "viewersChanged" | "totals" | "beginsAnew" | "owesBehind">;

/** What a frame says besides rows. */
export type Rest = Pick<Update, "viewers" | "totals" | "snapshot" | "behind">;

/** A frame as it goes out: JSON, made once for all who get it. */
export interface Frame {
  rest: Rest;
  text: string;
}

/** Builds a frame, and settles what was owed. */
export function toFrame(room: Room, owed: Owed, entries: readonly Entry[], countViewers: () => number): Frame {
  const rest = settle(room, owed, countViewers);
  const said = JSON.stringify(rest);
  const text = `{"topic":${room.nameAsJson},"at":"${new Date().toISOString()}"${listsAsJson(entries)}${
    said === "{}" ? "}" : `,${said.slice(1)}`
  }`;
  return { rest, text };
}

/** The same as an object, for the answer to a subscription. */
export function toUpdate(room: Room, owed: Owed, entries: readonly Entry[], countViewers: () => number): Update {
  const rest = settle(room, owed, countViewers);
  return { topic: room.name, at: new Date().toISOString(), ...toLists(entries), ...rest };
}

function settle(room: Room, owed: Owed, countViewers: () => number): Rest {
  const rest: Rest = {};
  if (owed.viewersChanged && !isOfStreams(room.topic)) rest.viewers = countViewers();
  if (owed.totals !== null) rest.totals = owed.totals;
  if (owed.beginsAnew) rest.snapshot = true;
  if (owed.owesBehind || (owed.beginsAnew && room.isBehind)) rest.behind = room.isBehind;
  owed.viewersChanged = false;
  owed.totals = null;
  owed.beginsAnew = false;
  owed.owesBehind = false;
  return rest;
}

function listsAsJson(entries: readonly Entry[]): string {
  let text = "";
  const later: Entry[] = [];
  // Nearly always the entries of a frame have one field or two; each is gone over as often as there are fields.
  for (let rest = entries; rest.length > 0; rest = later.splice(0)) {
    const field = (rest[0] as Entry).field;
    let list = "";
    for (const entry of rest) {
      if (entry.field !== field) later.push(entry);
      else list += list === "" ? textOf(entry) : `,${textOf(entry)}`;
    }
    text += `,"${field}":[${list}]`;
  }
  return text;
}

/** The rows of a snapshot as entries of a backlog. */
export function toEntries(rows: Pick<Update, "progress" | "lessons" | "courses" | "streams">): Entry[] {
  return Object.entries(rows).flatMap(([field, values]) => values.map((value) => ({ field, value }) as Entry));
}

export function toEntry(present: Present): Entry {
  return { field: "present", value: present, seenAt: performance.now() - present.ageMs };
}
