import { describe, expect, it } from "vitest";
import type { Update } from "../../protocol/dashboard.ts";
import type { CourseProgressRow, FileProgress } from "../../protocol/progress.ts";
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

/** A room whose next frame says everything that a frame can say. */
function createFullRoom(): Room {
  const room = new Room(`course:${COURSE_ID}`, { kind: "course", courseId: COURSE_ID }, COURSE_ID, true);
  room.viewersChanged = true;
  room.totals = { learners: 2, completed: 1, percentage: 50 };
  room.beginsAnew = true;
  room.owesBehind = true;
  return room;
}

describe("a frame", () => {
  it.each([
    { contents: "everything", entries: ENTRIES, createRoom: createFullRoom },
    {
      contents: "rows alone",
      entries: ENTRIES.slice(0, 2),
      createRoom: () => new Room("file:f1", { kind: "file", fileId: "f1" }, null, false),
    },
    { contents: "no rows", entries: [], createRoom: createFullRoom },
  ])("with $contents says the same as the answer to a subscription", ({ entries, createRoom }) => {
    const [first, second] = [createRoom(), createRoom()];
    const { text, rest } = toFrame(first, first, entries, 9);
    const said = JSON.parse(text) as Update;
    const { n, at, present, ...update } = toUpdate(second, second, entries, 9);
    expect(said).toMatchObject(update);
    expect(Object.keys(said).sort()).toEqual(Object.keys({ n, at, ...(present && { present }), ...update }).sort());
    expect(said.present?.[0]?.ageMs ?? 20).toBeGreaterThanOrEqual(20);
    expect(n).toBeGreaterThan(said.n);
    expect(said).toMatchObject(rest);
    expect(first).toMatchObject({ viewersChanged: false, totals: null, beginsAnew: false, owesBehind: false });
  });

  it("says how many viewers there are only where that changed, and where the topic has viewers", () => {
    const room = createFullRoom();
    expect(toFrame(room, room, [], null).rest).not.toHaveProperty("viewers");
    expect(toFrame(room, room, [], 9).rest).toEqual({});
    room.viewersChanged = true;
    expect(toFrame(room, room, [], 9).rest).toEqual({ viewers: 9 });
  });
});
