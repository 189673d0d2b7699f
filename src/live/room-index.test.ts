import { expect, it } from "vitest";
import { parseTopic, type Topic } from "../protocol/dashboard.ts";
import { type BusMessage, channels, createMemoryBus } from "./bus.ts";
import { Room } from "./room.ts";
import { RoomIndex } from "./room-index.ts";

const KEY = { courseId: "c1", lessonId: "l1", fileId: "f1", userId: "alice", version: 1 };
const NAMES = [
  "course:c1",
  "course:c1/user:alice",
  "course:c1/user:bob",
  "lesson:l1",
  "lesson:l2",
  "file:f1",
  "file:f2",
  "user:alice",
];

function createIndex() {
  const bus = createMemoryBus();
  const heard: [channel: string, message: BusMessage][] = [];
  const index = new RoomIndex(bus, (message, channel) => heard.push([channel, message]));
  for (const name of NAMES) {
    const topic = parseTopic(name) as Topic;
    index.add(new Room(name, topic, topic.kind === "user" ? null : "c1", false));
  }
  return { bus, index, heard };
}

it("finds the rooms that a change concerns, by the channel it is told in", () => {
  const { index } = createIndex();
  const namesIn = (channel: string | null) =>
    index
      .concernedBy(KEY, channel)
      .map(({ name }) => name)
      .sort();
  expect(namesIn("course:c1")).toEqual(["course:c1", "course:c1/user:alice", "file:f1", "lesson:l1"]);
  expect(namesIn("user:alice")).toEqual(["user:alice"]);
  expect(namesIn("course:c2")).toEqual([]);
  expect(namesIn(null)).toHaveLength(5);
});

it("hears a channel once for all its rooms, until the last of them is gone", () => {
  const { bus, index, heard } = createIndex();
  bus.publish(channels.course("c1"), { type: "again" });
  expect(heard).toHaveLength(1);
  expect([...index.inChannel("course:c1")]).toHaveLength(7);
  expect(bus.isPresenceWanted("course", "c1")).toBe(true);
  for (const name of NAMES.slice(1)) index.delete(index.get(name) as Room);
  bus.publish(channels.course("c1"), { type: "again" });
  bus.publish(channels.user("alice"), { type: "again" });
  expect(heard).toHaveLength(2);
  index.delete(index.get("course:c1") as Room);
  bus.publish(channels.course("c1"), { type: "again" });
  expect(heard).toHaveLength(2);
  expect(bus.isPresenceWanted("course", "c1")).toBe(false);
  expect(index.size).toBe(0);
});
