import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createLogger } from "../../logger.ts";
import type { TopicTotals } from "../../protocol/dashboard.ts";
import { Room } from "./room.ts";
import type { TopicSource } from "./topic-source.ts";
import { TotalsReader } from "./totals-reader.ts";

const MINUTE = 60_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A reader of files' sums; a query takes a millisecond, and those of files in `slow` longer. */
function createWorld() {
  const queries: (readonly string[])[] = [];
  const slow = new Map<string, number>();
  const totals: TopicTotals = { learners: 1, completed: 0, percentage: 0 };
  const fileTotals: TopicSource["fileTotals"] = async (ids) => {
    queries.push(ids);
    await new Promise((resolve) => setTimeout(resolve, Math.max(1, ...ids.map((id) => slow.get(id) ?? 0))));
    return new Map(ids.map((id) => [id, { ...totals }]));
  };
  const late: string[] = [];
  const reader = new TotalsReader({
    source: { fileTotals } as TopicSource,
    onLate: ({ name }) => late.push(name),
    logger: createLogger({ level: "silent" }),
  });
  const rooms = Array.from({ length: 120 }, (_, i) => {
    const fileId = `f${i}`;
    return new Room(`file:${fileId}`, { kind: "file", fileId }, "c1", false);
  });
  /** Changes the sums of all rooms, and has them read. @returns how many topics each query read, and whether a frame waits */
  async function read() {
    queries.length = 0;
    late.length = 0;
    for (const room of rooms) room.totalsChanged = true;
    let waits = true;
    void reader.readDue(rooms).then(() => {
      waits = false;
    });
    await vi.advanceTimersByTimeAsync(10);
    const frameWaits = waits;
    await vi.advanceTimersByTimeAsync(MINUTE);
    return { sizes: queries.map(({ length }) => length).sort((a, b) => b - a), frameWaits };
  }
  return { rooms, slow, totals, queries, late, read };
}

it("reads the sums of up to a hundred topics in one query", async () => {
  const { read } = createWorld();
  expect(await read()).toEqual({ sizes: [100, 20], frameWaits: false });
});

it("soon reads a slow topic alone, and lets no frame wait for it again", async () => {
  const { slow, read, late } = createWorld();
  slow.set("f7", 1000);
  expect(await read()).toEqual({ sizes: [100, 20], frameWaits: true });
  // The hundred that were slow together are read in tenths; the others as before.
  expect(await read()).toEqual({ sizes: [20, ...Array.from({ length: 10 }, () => 10)], frameWaits: false });
  const last = await read();
  expect(last.frameWaits).toBe(false);
  expect(last.sizes.filter((size) => size === 1)).toHaveLength(10);
  expect(late).toContain("file:f7");
  expect(await read()).toEqual({ sizes: [100, 19, 1], frameWaits: false });
  expect(late).toEqual(["file:f7"]);
});

it("shows sums once, and again only when they have changed", async () => {
  const { rooms, totals, read } = createWorld();
  const [room] = rooms as [Room];
  await read();
  expect(room.totals).toEqual(totals);
  room.totals = null; // a frame told them
  await read();
  expect(room.totals).toBeNull();
  totals.completed = 1;
  await read();
  expect(room.totals).toEqual(totals);
});

it("shows unchanged sums again when a member may have got others with its snapshot", async () => {
  const { rooms, totals, read } = createWorld();
  const [room] = rooms as [Room];
  await read();
  room.totals = null;
  room.shownTotals = null;
  await read();
  expect(room.totals).toEqual(totals);
});
