import { describe, expect, it } from "vitest";
import type { LessonProgress } from "../../protocol/progress.ts";
import { Backlog, type Entry, MAX_FRAME_BYTES, toLists } from "./backlog.ts";

function lesson(userId: string, version: number, lessonId = "l1"): Entry {
  const value: LessonProgress = {
    userId,
    lessonId,
    courseId: "c1",
    totalFiles: 1,
    completedFiles: 0,
    percentage: 0,
    lastUpdated: null,
    version,
  };
  return { field: "lessons", value };
}

function present(position: number): Entry {
  return {
    field: "present",
    value: { userId: "alice", fileId: "f1", position, state: "playing", rate: 1, ageMs: 0 },
    seenAt: performance.now(),
  };
}

function drain(backlog: Backlog): (readonly Entry[])[] {
  const frames: (readonly Entry[])[] = [];
  while (backlog.size > 0) frames.push(backlog.take().entries);
  return frames;
}

describe("a backlog", () => {
  it("keeps the newest state of each key, and gives it once", () => {
    const backlog = new Backlog();
    for (let version = 1; version <= 1000; version++) backlog.put(lesson("alice", version));
    backlog.put(lesson("bob", 1));
    expect(backlog.size).toBe(2);
    expect(backlog.take().entries).toMatchObject([lesson("alice", 1000), lesson("bob", 1)]);
    expect(backlog.take()).toEqual({ entries: [], bytes: 0 });
  });

  it("keeps states of different kinds apart when their ids are equal", () => {
    const backlog = new Backlog();
    backlog.put(lesson("alice", 1, "x"));
    backlog.put({ field: "removed", value: { kind: "course", userId: "alice", courseId: "x", version: 1 } });
    backlog.put({ field: "removed", value: { kind: "progress", userId: "alice", fileId: "x", version: 1 } });
    backlog.put({ field: "removed", value: { kind: "present", userId: "alice", fileId: "x", version: 0 } });
    backlog.put(lesson("alicex", 1, ""));
    expect(backlog.size).toBe(5);
  });

  it("puts a removal in the place of a state, and a state in the place of a removal", () => {
    const backlog = new Backlog();
    const removal: Entry = { field: "removed", value: { kind: "lesson", userId: "alice", lessonId: "l1", version: 2 } };
    backlog.put(lesson("alice", 1));
    backlog.put(removal);
    expect(backlog.take().entries).toEqual([removal]);
    backlog.put(removal);
    backlog.put(lesson("alice", 3));
    expect(backlog.take().entries).toMatchObject([lesson("alice", 3)]);
    backlog.put(present(5));
    backlog.put({ field: "removed", value: { kind: "present", userId: "alice", fileId: "f1", version: 0 } });
    expect(backlog.size).toBe(1);
  });

  it("gives as many entries as fit into a frame, oldest first, until nothing is left", () => {
    const backlog = new Backlog();
    const put = Array.from({ length: 2000 }, (_, i) => lesson(`user-${i}`, i));
    for (const entry of put) backlog.put(entry);
    const frames = drain(backlog);
    expect(frames.flat()).toEqual(put);
    expect(frames.length).toBeGreaterThan(3);
    for (const frame of frames) expect(JSON.stringify(toLists(frame)).length).toBeLessThan(MAX_FRAME_BYTES + 100);
  });

  it("measures a frame in bytes, not in characters", () => {
    const backlog = new Backlog();
    for (let i = 0; i < 400; i++) backlog.put(lesson(`${i}-${"\u{1f600}".repeat(120)}`, i));
    for (const frame of drain(backlog)) {
      expect(Buffer.byteLength(JSON.stringify(toLists(frame)))).toBeLessThan(MAX_FRAME_BYTES + 100);
    }
  });

  it("gives an entry that is too long for any frame a frame of its own", () => {
    const backlog = new Backlog();
    backlog.put(lesson("x".repeat(MAX_FRAME_BYTES), 1));
    backlog.put(lesson("alice", 1));
    expect(drain(backlog).map((frame) => frame.length)).toEqual([1, 1]);
  });
});

describe("the lists of a frame", () => {
  it("are named by the field of their entries, and are left out where they are empty", () => {
    expect(toLists([])).toEqual({});
    expect(toLists([lesson("alice", 1), present(5), lesson("bob", 2)])).toMatchObject({
      lessons: [{ userId: "alice" }, { userId: "bob" }],
      present: [{ userId: "alice", position: 5 }],
    });
  });
});
