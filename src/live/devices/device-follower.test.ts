import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLogger } from "../../logger.ts";
import type { FileProgress } from "../../protocol/progress.ts";
import { channels } from "../bus/channels.ts";
import { createMemoryBus } from "../bus/memory-bus.ts";
import type { TopicSource } from "../hub/topic-source.ts";
import { DeviceFollowers } from "./device-follower.ts";

const INTERVAL_MS = 250;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

function createWorld() {
  const stored = new Map<string, number>();
  const told: string[] = [];
  const bus = createMemoryBus();
  const files = vi.fn(async (keys: readonly (readonly [string, string])[]) =>
    keys.map(([userId, fileId]) => ({ userId, fileId, version: stored.get(fileId) }) as FileProgress),
  );
  const followers = new DeviceFollowers(
    {
      bus,
      source: { files } as unknown as TopicSource,
      logger: createLogger({ level: "silent" }),
      tell: (socketId, { fileId, version }) => told.push(`${socketId} ${fileId} ${version}`),
    },
    { frameIntervalMs: INTERVAL_MS },
  );
  return {
    stored,
    followers,
    told,
    files,
    bus,
    /** A commit, and the notification of it. */
    commit(version: number, fileId = "f1", userId = "alice") {
      stored.set(fileId, version);
      bus.publishChanges([{ courseId: "c1", lessonId: "l1", fileId, userId, version }]);
    },
  };
}

describe("a user's devices", () => {
  it("are told what another device did, and the device that did it is not", async () => {
    const world = createWorld();
    world.followers.add("alice", "tv");
    world.followers.add("alice", "phone");
    world.followers.add("bob", "laptop");
    world.commit(1);
    world.followers.told("alice", "phone", "f1", 1);
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(world.told).toEqual(["tv f1 1"]);
  });

  it("read nothing from the database while one device plays alone", async () => {
    const world = createWorld();
    world.followers.add("alice", "phone");
    for (let version = 1; version < 10; version++) {
      world.commit(version);
      world.followers.told("alice", "phone", "f1", version);
      await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    }
    expect(world.told).toEqual([]);
    expect(world.files.mock.calls.flatMap(([keys]) => keys)).toEqual([]);
  });

  it("are not told what they did themselves when the ack comes after the notification", async () => {
    const world = createWorld();
    world.followers.add("alice", "tv");
    world.followers.add("alice", "phone");
    world.commit(1);
    world.followers.told("alice", "phone", "f1", 1);
    // The next heartbeat is committed just before the first is due, and acked just after.
    await vi.advanceTimersByTimeAsync(INTERVAL_MS - 1);
    world.commit(2);
    await vi.advanceTimersByTimeAsync(1);
    world.followers.told("alice", "phone", "f1", 2);
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS);
    expect(world.told).toEqual(["tv f1 2"]);
  });

  it("are told of each other when both play the same file at once", async () => {
    const world = createWorld();
    world.followers.add("alice", "tv");
    world.followers.add("alice", "phone");
    world.commit(1);
    world.followers.told("alice", "tv", "f1", 1);
    await vi.advanceTimersByTimeAsync(10);
    world.commit(2);
    world.followers.told("alice", "phone", "f1", 2);
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS);
    expect(world.told).toEqual(["tv f1 2"]);
  });

  it("are told of every file that changed", async () => {
    const world = createWorld();
    world.followers.add("alice", "tv");
    world.commit(1, "f1");
    world.commit(2, "f2");
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(world.told.sort()).toEqual(["tv f1 1", "tv f2 2"]);
  });

  it("are told nothing after they left", async () => {
    const world = createWorld();
    world.followers.add("alice", "tv");
    world.followers.add("alice", "phone");
    world.commit(1);
    world.followers.remove("alice", "tv");
    world.followers.remove("alice", "phone");
    await vi.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(world.told).toEqual([]);
  });

  it("are told what they lack after notifications may have been lost", async () => {
    const world = createWorld();
    world.followers.add("alice", "tv");
    world.followers.add("alice", "phone");
    world.commit(1);
    for (const socketId of ["tv", "phone"]) world.followers.told("alice", socketId, "f1", 1);
    world.stored.set("f1", 2); // nobody is told of this version
    world.bus.publish(channels.all, { type: "again" });
    await vi.advanceTimersByTimeAsync(2 * INTERVAL_MS);
    expect(world.told.sort()).toEqual(["phone f1 2", "tv f1 2"]);
  });
});
