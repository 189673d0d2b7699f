import { expect, it } from "vitest";
import { createLogger } from "../../logger.ts";
import { createMetrics } from "../../metrics/metrics.ts";
import type { FileProgress } from "../../protocol/progress.ts";
import { Presence } from "../presence/presence.ts";
import { Audience } from "./audience.ts";
import { LevelMembers } from "./level-members.ts";
import { Room } from "./room.ts";
import type { RoomReader } from "./room-reader.ts";
import { RoomViewers } from "./room-viewers.ts";
import { SlowMembers } from "./slow-members.ts";

const MEMBERS = 500;
/** The least that MAX_BACKPRESSURE_BYTES may be: past it a frame is dropped in silence. */
const DROPPED_PAST_BYTES = 262_144;

/** Rooms whose members read everything at once, except those in `stuck`, which read nothing. */
function createWorld({ roomNames }: { roomNames: string[] }) {
  const stuck = new Map<string, number>();
  const joined = new Map<string, Set<string>>();
  let [looks, dropped] = [0, 0];
  const metrics = createMetrics();
  const slow = new SlowMembers(
    {
      reader: {} as RoomReader,
      viewers: new RoomViewers(new Presence()),
      wakeAt: () => undefined,
      metrics,
      logger: createLogger({ level: "silent" }),
    },
    { frameIntervalMs: 0 },
  );
  const level = new LevelMembers({
    slow,
    metrics,
    outlet: {
      broadcast(topic, update) {
        for (const id of stuck.keys()) {
          if (!joined.get(topic)?.has(id)) continue;
          const bytes = (stuck.get(id) ?? 0) + update.length;
          if (bytes > DROPPED_PAST_BYTES) dropped += 1;
          else stuck.set(id, bytes);
        }
      },
    },
  });
  const toSubscriber = (id: string) => ({
    id,
    join: (topic: string) => joined.set(topic, (joined.get(topic) ?? new Set()).add(id)),
    leave: (topic: string) => joined.get(topic)?.delete(id),
    send: () => undefined,
    bufferedBytes() {
      looks += 1;
      return stuck.get(id) ?? 0;
    },
    disconnect: () => undefined,
  });
  const audience = new Audience();
  const rooms = roomNames.map((name) => new Room(name, { kind: "file", fileId: name }, "c1", false));
  for (const room of rooms) {
    for (let i = 0; i < MEMBERS; i++) {
      const member = audience.add(room, toSubscriber(`${i}`));
      room.setMode(member, "alone");
      slow.serve(room, member);
    }
  }
  return {
    rooms,
    stuck,
    dropped: () => dropped,
    /** @returns how often a buffer was looked at, for each member and frame */
    publish(frames: number, bytes: number): number {
      looks = 0;
      const entry = { field: "progress", value: {} as FileProgress } as const;
      for (let i = 0; i < frames; i++) {
        level.beginTurn();
        for (const room of rooms)
          level.broadcast(room, { entries: [entry], bytes }, { rest: {}, text: "x".repeat(bytes) });
      }
      return looks / frames / rooms.length / MEMBERS;
    },
  };
}

it("looks at the buffers of a large room in turn, and hands a member that reads nothing no more than its buffer holds", () => {
  const world = createWorld({ roomNames: ["f1"] });
  expect(world.publish(200, 300)).toBeLessThan(0.05);
  for (const id of ["0", "17", "499"]) world.stuck.set(id, 0);
  expect(world.publish(2000, 300)).toBeLessThan(0.05);
  expect(world.dropped()).toBe(0);
  expect([...(world.rooms[0]?.alone ?? [])].map(({ subscriber }) => subscriber.id).sort()).toEqual(["0", "17", "499"]);
});

it("looks the more often the larger frames are, and the more topics a member watches", () => {
  const large = createWorld({ roomNames: ["f1"] });
  large.stuck.set("3", 0);
  expect(large.publish(100, 60_000)).toBeGreaterThan(0.9);
  expect(large.dropped()).toBe(0);

  const many = createWorld({ roomNames: Array.from({ length: 20 }, (_, i) => `f${i}`) });
  many.stuck.set("3", 0);
  many.publish(100, 2000);
  expect(many.dropped()).toBe(0);
  expect(many.rooms.every(({ alone }) => alone.size === 1)).toBe(true);
});
