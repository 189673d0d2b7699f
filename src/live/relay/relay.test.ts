import { describe, expect, it } from "vitest";
import type { BusMessage } from "../bus/bus.ts";
import { createMemoryBus } from "../bus/memory-bus.ts";
import { relayProgress, relayStreams } from "./relay.ts";

function listen() {
  const bus = createMemoryBus();
  const heard: [channel: string | null, BusMessage][] = [];
  bus.listen((message, channel) => heard.push([channel, message]));
  return { bus, heard };
}

describe("a notification of progress", () => {
  it("is told as the keys that it names, and returns them", () => {
    const { bus, heard } = listen();
    const keys = relayProgress(bus, '{"keys":[["c1","l1","f1","alice",1],["c2","l2","f9","bob",2]]}');
    expect(keys).toEqual([
      { courseId: "c1", lessonId: "l1", fileId: "f1", userId: "alice", version: 1 },
      { courseId: "c2", lessonId: "l2", fileId: "f9", userId: "bob", version: 2 },
    ]);
    expect(heard).toEqual([[null, { type: "changed", keys }]]);
  });

  it("that names only a course has the course's topics and all users' topics read again", () => {
    const { bus, heard } = listen();
    expect(relayProgress(bus, '{"again":"c1"}')).toBeNull();
    expect(heard).toEqual([
      ["course:c1", { type: "again" }],
      ["users", { type: "again" }],
    ]);
  });

  it.each(["", "nonsense", "{}", "5", "null", '{"keys":5}', '{"keys":[5]}'])(
    "that no trigger sends (%j) is refused, and nobody is told of it",
    (payload) => {
      const { bus, heard } = listen();
      expect(() => relayProgress(bus, payload)).toThrow();
      expect(heard).toEqual([]);
    },
  );
});

describe("a notification of streams", () => {
  it("is told as the streams that it names", () => {
    const { bus, heard } = listen();
    relayStreams(bus, '{"keys":[["s1",7]]}');
    expect(heard).toEqual([["streams", { type: "streams", keys: [{ streamId: "s1", version: 7 }] }]]);
  });

  it("that names none has all topics of streams read again", () => {
    const { bus, heard } = listen();
    relayStreams(bus, '{"again":true}');
    expect(heard).toEqual([["streams", { type: "again" }]]);
  });
});
