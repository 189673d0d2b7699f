import { describe, expect, it } from "vitest";
import type { ChangedKey } from "../bus/bus.ts";
import { Changes } from "./changes.ts";

const toKey = (userId: string, version: number): ChangedKey => ({
  courseId: "c1",
  lessonId: "l1",
  fileId: "f1",
  userId,
  version,
});

describe("the changes of a room", () => {
  it("are taken once, oldest first", () => {
    const changes = new Changes();
    expect(changes.isEmpty).toBe(true);
    changes.add(toKey("alice", 1));
    changes.addStream({ streamId: "s1", version: 2 });
    changes.add(toKey("bob", 3));
    expect(changes.isEmpty).toBe(false);
    expect(changes.take()).toEqual({
      keys: [toKey("alice", 1), toKey("bob", 3)],
      streams: [{ streamId: "s1", version: 2 }],
    });
    expect(changes.isEmpty).toBe(true);
  });

  it("that could not be read stand before those that came since", () => {
    const changes = new Changes();
    changes.add(toKey("alice", 1));
    const taken = changes.take();
    changes.add(toKey("alice", 2));
    changes.putBack(taken);
    expect(changes.take().keys.map(({ version }) => version)).toEqual([1, 2]);
  });

  it("take no more memory than their rows, however long they are not read, and keep each row's newest version", () => {
    const changes = new Changes();
    const people = Array.from({ length: 100 }, (_, i) => `user-${i}`);
    for (let version = 0; version < 100_000; version++) changes.add(toKey(people[version % 100] as string, version));
    const { keys } = changes.take();
    expect(keys.length).toBeLessThan(20_000);
    const newest = new Map(keys.map(({ userId, version }) => [userId, version]));
    expect([...newest.values()].sort((a, b) => a - b)).toEqual(people.map((_, i) => 99_900 + i));
  });
});
