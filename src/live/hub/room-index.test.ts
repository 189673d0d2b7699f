import { expect, it, vi } from "vitest";
import { parseTopic, type Topic } from "../../protocol/dashboard.ts";
import { createMemoryBus } from "../bus/memory-bus.ts";
import { Room } from "./room.ts";
import { RoomIndex } from "./room-index.ts";

const KEY = { courseId: "c1", lessonId: "l1", fileId: "f1", userId: "alice" };
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
  const wanted: string[] = [];
  const drop = (name: string) => void wanted.splice(wanted.indexOf(name), 1);
  const bus = {
    ...createMemoryBus(),
    subscribe: vi.fn(async (channel: string) => void wanted.push(channel)),
    unsubscribe: vi.fn(drop),
    wantPresence: vi.fn((channel: string) => void wanted.push(`viewers of ${channel}`)),
    releasePresence: vi.fn((channel: string) => drop(`viewers of ${channel}`)),
  };
  const index = new RoomIndex(bus);
  for (const name of NAMES) {
    const topic = parseTopic(name) as Topic;
    index.add(new Room(name, topic, topic.kind === "user" ? null : "c1", false));
  }
  return { bus, index, wanted: () => [...new Set(wanted)].sort() };
}

it("finds the rooms that show a change by the channel in which it is told", () => {
  const { index } = createIndex();
  const namesIn = (channel: string | null, key = KEY) =>
    index
      .concernedBy(key, channel)
      .map(({ name }) => name)
      .sort();
  expect(namesIn("course:c1")).toEqual(["course:c1", "course:c1/user:alice", "file:f1", "lesson:l1"]);
  expect(namesIn("user:alice")).toEqual(["user:alice"]);
  expect(namesIn(null)).toHaveLength(5);
  // The file has moved to another course: those who watch the old course are not shown it.
  expect(namesIn("course:c2", { ...KEY, courseId: "c2" })).toEqual([]);
  expect(namesIn(null, { ...KEY, courseId: "c2" })).toEqual(["user:alice"]);
});

it("subscribes to the channels of its rooms, and wants their viewers, until the last of them is gone", () => {
  const { index, wanted } = createIndex();
  const all = ["course:c1", "user:alice", "users", "viewers of course:c1", "viewers of user:alice"];
  expect(wanted()).toEqual(all);
  expect([...index.inChannel("course:c1")]).toHaveLength(7);
  for (const name of NAMES.slice(1, -1)) index.delete(index.get(name) as Room);
  expect(wanted()).toEqual(all);
  index.delete(index.get("user:alice") as Room);
  expect(wanted()).toEqual(["course:c1", "viewers of course:c1"]);
  index.delete(index.get("course:c1") as Room);
  expect(wanted()).toEqual([]);
  expect([...index.inChannel("course:c1")]).toEqual([]);
  expect(index.size).toBe(0);
});

it("wants no viewers for topics of streams", () => {
  const { index, wanted } = createIndex();
  for (const name of NAMES) index.delete(index.get(name) as Room);
  index.add(new Room("streams", { kind: "streams" }, null, false));
  expect(wanted()).toEqual(["streams"]);
});
