import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createFakeClock, type FakeClock } from "../../test/helpers/fake-clock.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import { type Range, unionOf } from "../protocol/ranges.ts";
import { createBeatQueue, type Observation } from "./beat-queue.ts";
import { type BeatStorage, createBeatShelf } from "./beat-storage.ts";
import { toMoment } from "./clock.ts";

const DAY_MS = 24 * 3600 * 1000;

function seen(clock: FakeClock, more: Partial<Observation> = {}): Observation {
  return { fileId: "f", positionMs: 0, state: "playing", rate: 1, seen: toMoment(clock), epoch: 0, ...more };
}

function createMemoryStorage(): BeatStorage {
  const map = new Map<string, string>();
  return {
    keys: () => [...map.keys()],
    get: (key) => map.get(key) ?? null,
    set: (key, text) => void map.set(key, text),
    delete: (key) => void map.delete(key),
  };
}

describe("the beat queue", () => {
  it("joins ranges that are played while offline into one beat, at the newest position", () => {
    const clock = createFakeClock();
    const queue = createBeatQueue({ clock }, { sessionId: "s" });
    queue.push(seen(clock, { positionMs: 10_000 }), [[0, 10_000]]);
    queue.push(seen(clock, { positionMs: 20_000, state: "paused" }), [[10_000, 20_000]]);
    expect(queue.takeBatch().map(({ wire }) => wire)).toEqual([
      {
        fileId: "f",
        position: 20,
        played: [[0, 20]],
        state: "paused",
        rate: 1,
        ageMs: 0,
        sessionId: "s",
        seq: 1,
        epoch: 0,
      },
    ]);
  });

  it("keeps a sent beat as it is, and puts ranges that are played later into the next one", () => {
    const clock = createFakeClock();
    const queue = createBeatQueue({ clock }, { sessionId: "s" });
    queue.push(seen(clock, { positionMs: 10_000 }), [[0, 10_000]]);
    const [first] = queue.takeBatch();
    clock.advance(5000);
    queue.push(seen(clock, { positionMs: 15_000 }), [[10_000, 15_000]]);
    const again = queue.takeBatch();
    expect(again.map(({ wire }) => wire.seq)).toEqual([1, 2]);
    expect(again[0]?.wire).toEqual({ ...first?.wire, ageMs: 5000 });
    expect(again[1]?.wire).toMatchObject({ position: 15, played: [[10, 15]], ageMs: 0 });
  });

  it("keeps two plays of the same part in two beats, so that the time spent counts twice", () => {
    const clock = createFakeClock();
    const queue = createBeatQueue({ clock }, { sessionId: "s" });
    queue.push(seen(clock), [[0, 10_000]]);
    queue.push(seen(clock), [[0, 10_000]]);
    expect(queue.size).toBe(2);
  });

  it("counts the age of a position through a sleep in which the monotonic clock stood still", () => {
    const clock = createFakeClock();
    const queue = createBeatQueue({ clock }, { sessionId: "s" });
    queue.push(seen(clock), [[0, 1000]]);
    clock.setWall(clock.wallMs() + 8 * 3600 * 1000);
    expect(queue.takeBatch()[0]?.wire.ageMs).toBe(8 * 3600 * 1000);
  });

  it("claims an age of 0 to 30 days, however the wall clock was set", () => {
    const clock = createFakeClock(40 * DAY_MS);
    const queue = createBeatQueue({ clock }, { sessionId: "s" });
    queue.push(seen(clock), []);
    clock.setWall(0);
    expect(queue.takeBatch()[0]?.wire.ageMs).toBe(0);
    clock.setWall(4000 * DAY_MS);
    expect(queue.takeBatch()[0]?.wire.ageMs).toBe(30 * DAY_MS);
  });

  it("splits a batch at 100 beats and at 32 KB", () => {
    const clock = createFakeClock();
    const small = createBeatQueue({ clock }, { sessionId: "s" });
    for (let n = 0; n < 150; n++) small.push(seen(clock, { fileId: `f${n}` }), []);
    expect(small.takeBatch()).toHaveLength(100);
    const large = createBeatQueue({ clock }, { sessionId: "s" });
    const ranges = Array.from({ length: 32 }, (_, n): Range => [n * 10_111, n * 10_111 + 5013]);
    for (let n = 0; n < 100; n++) large.push(seen(clock, { fileId: `${"é".repeat(120)}${n}` }), ranges);
    const batch = large.takeBatch();
    const bytes = Buffer.byteLength(JSON.stringify({ beats: batch.map(({ wire }) => wire) }));
    expect(bytes).toBeLessThanOrEqual(32 * 1024);
    expect(bytes).toBeGreaterThan(30 * 1024);
  });

  it("stays bounded through weeks offline, and loses no played range", () => {
    const clock = createFakeClock();
    const queue = createBeatQueue({ clock }, { sessionId: "s" });
    for (let n = 0; n < 1000; n++) {
      queue.push(seen(clock, { fileId: `f${n % 5}`, positionMs: n }), [[(n % 50) * 1000, (n % 50) * 1000 + 900]]);
      expect(queue.size).toBeLessThanOrEqual(10);
    }
    for (let file = 0; file < 5; file++) {
      const beats = queue.beats.filter((beat) => beat.fileId === `f${file}`);
      const expected = Array.from(
        { length: 10 },
        (_, n): Range => [(n * 5 + file) * 1000, (n * 5 + file) * 1000 + 900],
      );
      expect(unionOf(beats.flatMap((beat) => beat.played))).toEqual(expected);
      expect(beats.at(-1)?.positionMs).toBe(995 + file);
    }
  });

  it("forgets the fresh beats of a file that was reset, but not the sent ones", () => {
    const clock = createFakeClock();
    const queue = createBeatQueue({ clock }, { sessionId: "s" });
    queue.push(seen(clock), [[0, 1000]]);
    queue.takeBatch();
    queue.push(seen(clock), [[1000, 2000]]);
    queue.push(seen(clock, { fileId: "other" }), [[0, 1000]]);
    queue.forget("f");
    expect(queue.beats.map(({ fileId, seq }) => [fileId, seq])).toEqual([
      ["f", 1],
      ["other", 3],
    ]);
  });
});

// The life of a player: it plays, sends, loses acks, and its page is reloaded.
const event = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("push" as const),
      file: fc.constantFrom("a", "b"),
      played: fc.array(
        fc.tuple(fc.nat(400), fc.nat(60)).map(([from, length]): Range => [from, from + length]),
        { maxLength: 50 },
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("send" as const), max: fc.integer({ min: 1, max: 5 }), acked: fc.nat(5) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(60_000) }) },
  { weight: 1, arbitrary: fc.constant({ kind: "reload" as const }) },
);

describe("a player's queue over its whole life", () => {
  it("brings every range to the server, claims nothing else, and never changes what it sent", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        const clock = createFakeClock();
        const storage = createMemoryStorage();
        const sent = new Map<string, Heartbeat>();
        const truth = { a: [] as Range[], b: [] as Range[] };
        const arrived = { a: [] as Range[], b: [] as Range[] };
        let session = 0;
        const open = () => {
          const sessionId = `s${++session}`;
          const queue = createBeatQueue({ clock }, { sessionId });
          const shelf = createBeatShelf({ storage, clock }, { server: "http://x", userId: "u", sessionId });
          const { beats, release } = shelf.adopt();
          queue.restore(beats);
          shelf.save(queue.beats);
          release();
          return { queue, shelf };
        };
        let { queue, shelf } = open();

        function send(max: number | undefined, acked: number): void {
          const batch = queue.takeBatch(max);
          shelf.save(queue.beats);
          const lastSeq = new Map<string, number>();
          for (const { wire } of batch) {
            const { ageMs, ...content } = wire;
            const key = `${wire.sessionId}/${wire.seq}`;
            const { ageMs: ageBefore, ...contentBefore } = sent.get(key) ?? wire;
            expect(content).toEqual(contentBefore);
            expect(ageMs).toBeGreaterThanOrEqual(ageBefore ?? 0);
            sent.set(key, wire);
            expect(wire.played?.length ?? 0).toBeLessThanOrEqual(32);
            expect(wire.seq).toBeGreaterThan(lastSeq.get(wire.sessionId ?? "") ?? 0);
            lastSeq.set(wire.sessionId ?? "", wire.seq ?? 0);
          }
          for (const { beat, wire } of batch.slice(0, acked)) {
            arrived[wire.fileId as "a" | "b"].push(
              ...(wire.played ?? []).map(([from, to]): Range => [Math.round(from * 1000), Math.round(to * 1000)]),
            );
            queue.settle(beat);
          }
          shelf.save(queue.beats);
        }

        for (const one of events) {
          if (one.kind === "push") {
            truth[one.file].push(...one.played);
            queue.push(seen(clock, { fileId: one.file }), one.played);
            shelf.save(queue.beats);
          }
          if (one.kind === "send") send(one.max, one.acked);
          if (one.kind === "wait") clock.advance(one.ms);
          if (one.kind === "reload") {
            shelf.save(queue.beats, { closed: true });
            ({ queue, shelf } = open());
          }
        }
        while (queue.size > 0) send(undefined, 100);
        expect(unionOf(arrived.a)).toEqual(unionOf(truth.a));
        expect(unionOf(arrived.b)).toEqual(unionOf(truth.b));
        expect(storage.keys()).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

describe("kept beats", () => {
  function shelfOf(storage: BeatStorage, clock: FakeClock, sessionId: string, userId = "u") {
    return createBeatShelf({ storage, clock }, { server: "http://x", userId, sessionId });
  }
  function filled(clock: FakeClock) {
    const queue = createBeatQueue({ clock }, { sessionId: "old" });
    queue.push(seen(clock), [[0, 1000]]);
    return queue.beats;
  }

  it("come back after a reload, older by the time that passed", () => {
    const clock = createFakeClock();
    const storage = createMemoryStorage();
    shelfOf(storage, clock, "old").save(filled(clock), { closed: true });
    const later = createFakeClock(clock.wallMs() + 3600_000);
    const queue = createBeatQueue({ clock: later }, { sessionId: "new" });
    queue.restore(shelfOf(storage, later, "new").adopt().beats);
    expect(queue.takeBatch()[0]?.wire).toMatchObject({ sessionId: "old", seq: 1, ageMs: 3600_000, played: [[0, 1]] });
  });

  it("stay where they are if they are another user's", () => {
    const clock = createFakeClock();
    const storage = createMemoryStorage();
    shelfOf(storage, clock, "old").save(filled(clock), { closed: true });
    expect(shelfOf(storage, clock, "new", "somebody else").adopt().beats).toEqual([]);
    expect(storage.keys()).toHaveLength(1);
  });

  it("are left to their tab while it lives, and taken over after it crashed", () => {
    const clock = createFakeClock();
    const storage = createMemoryStorage();
    shelfOf(storage, clock, "old").save(filled(clock));
    expect(shelfOf(storage, clock, "new").adopt().beats).toEqual([]);
    clock.advance(61_000);
    expect(shelfOf(storage, clock, "new").adopt().beats).toHaveLength(1);
  });

  it("are dropped where they are damaged", () => {
    const clock = createFakeClock();
    const storage = createMemoryStorage();
    shelfOf(storage, clock, "old").save(filled(clock), { closed: true });
    for (const key of storage.keys()) storage.set(key, '{"savedAtMs":1,"closed":true,"beats":[{"fileId":7},null]}');
    const { beats, release } = shelfOf(storage, clock, "new").adopt();
    release();
    expect(beats).toEqual([]);
    expect(storage.keys()).toEqual([]);
  });
});
