import { describe, expect, it } from "vitest";
import { type BusMessage, channels, createMemoryBus } from "./bus.ts";
import { relayProgress } from "./relay.ts";

function listen() {
  const bus = createMemoryBus();
  const heard: [string, BusMessage][] = [];
  for (const channel of [
    channels.course("c1"),
    channels.course("c2"),
    channels.user("alice"),
    channels.user("bob"),
    channels.users,
  ]) {
    bus.subscribe(channel, (message) => heard.push([channel, message]));
  }
  return { bus, heard };
}

const toKey = (courseId: string, fileId: string, userId: string, version: number) => ({
  courseId,
  lessonId: "l1",
  fileId,
  userId,
  version,
});

describe("a notification of progress", () => {
  it("becomes one message a course, and one a key for its user", () => {
    const { bus, heard } = listen();
    relayProgress(bus, '{"keys":[["c1","l1","f1","alice",1],["c2","l1","f9","alice",2],["c1","l1","f2","bob",3]]}');
    const changed = (...keys: ReturnType<typeof toKey>[]): BusMessage => ({ type: "changed", keys });
    const [one, two, three] = [
      toKey("c1", "f1", "alice", 1),
      toKey("c2", "f9", "alice", 2),
      toKey("c1", "f2", "bob", 3),
    ];
    expect(heard).toHaveLength(5);
    for (const expected of [
      ["course:c1", changed(one, three)],
      ["course:c2", changed(two)],
      ["user:alice", changed(one)],
      ["user:alice", changed(two)],
      ["user:bob", changed(three)],
    ]) {
      expect(heard).toContainEqual(expected);
    }
  });

  it("that names a course alone has it, and every user's topic, read again", () => {
    const { bus, heard } = listen();
    relayProgress(bus, '{"again":"c1"}');
    expect(heard).toEqual([
      ["course:c1", { type: "again" }],
      ["users", { type: "again" }],
    ]);
  });

  it.each(["", "nonsense", "{}", "5", "null", '{"keys":5}', '{"keys":[5]}'])(
    "that no trigger sends (%j) throws, and is told to nobody",
    (payload) => {
      const { bus, heard } = listen();
      expect(() => relayProgress(bus, payload)).toThrow();
      expect(heard).toEqual([]);
    },
  );
});
