import { describe, expect, it } from "vitest";
import type { Update } from "../protocol/dashboard.ts";
import type { CourseProgressRow, FileProgress } from "../protocol/progress.ts";
import type { Entry } from "./backlog.ts";
import { toEntry, toFrame, toUpdate } from "./frame.ts";
import { Room } from "./room.ts";

const COURSE_ID = 'c"1\u2028é';
const ENTRIES: Entry[] = [
  { field: "progress", value: { userId: "alice", fileId: "f1", version: 3 } as FileProgress },
  { field: "courses", value: { userId: "alice", courseId: COURSE_ID, version: 3 } as CourseProgressRow },
  { field: "progress", value: { userId: 'b"ob', fileId: "f2", version: 4 } as FileProgress },
  { field: "removed", value: { kind: "progress", userId: "carol", fileId: "f1", version: 5 } },
  toEntry({ userId: "alice", fileId: "f1", position: 7, state: "playing", rate: 1, ageMs: 20 }),
];

/** A room that owes everything. */
function createRoom(): Room {
  const room = new Room(`course:${COURSE_ID}`, { kind: "course", courseId: COURSE_ID }, COURSE_ID, true);
  room.viewersChanged = true;
  room.totals = { learners: 2, completed: 1, percentage: 50 };
  room.beginsAnew = true;
  return room;
}

describe("a frame", () => {
  it.each([
    { what: "with everything", entries: ENTRIES, room: createRoom },
    {
      what: "with rows alone",
      entries: ENTRIES.slice(0, 2),
      room: () => new Room("file:f1", { kind: "file", fileId: "f1" }, null, false),
    },
    { what: "without rows", entries: [], room: createRoom },
  ])("$what says as JSON what the answer to a subscription would", ({ entries, room }) => {
    const [first, second] = [room(), room()];
    const { text, rest } = toFrame(first, first, entries, () => 9);
    const said = JSON.parse(text) as Update;
    const { at, present, ...update } = toUpdate(second, second, entries, () => 9);
    expect(said).toMatchObject(update);
    expect(Object.keys(said).sort()).toEqual(Object.keys({ at, ...(present && { present }), ...update }).sort());
    expect(said.present?.[0]?.ageMs ?? 20).toBeGreaterThanOrEqual(20);
    expect(said).toMatchObject(rest);
    expect(first).toMatchObject({ viewersChanged: false, totals: null, beginsAnew: false, owesBehind: false });
  });
});
