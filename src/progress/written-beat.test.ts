import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FileFacts } from "../catalogue/catalogue.ts";
import { applyBriefAck } from "../protocol/brief-ack.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { fromSeconds, keepFirst, type Range, toMs, toSeconds } from "../protocol/ranges.ts";
import { isStale, mergeBeat, type StoredRow } from "./merge-beat.ts";
import { mergeInto, type PendingBeat, toPendingBeat } from "./pending-beat.ts";
import { WrittenBeat } from "./written-beat.ts";

/*
 * A server reduced to one row, and a client that holds a copy of its progress and is told by acks.
 */

const START_US = Date.parse("2026-03-01T12:00:00Z") * 1000;
const NEXT_BEAT_MS = 10_000;

const FILE: FileFacts = {
  fileId: "f",
  lessonId: "l",
  courseId: "c",
  durationMs: 600_000,
  assumedMs: null,
  counted: true,
  completeAtMs: 500_000,
  startMs: 0,
  endMs: 550_000,
  catalogueVersion: 1,
};

interface Beat {
  positionMs: number;
  played: readonly Range[];
  /** Milliseconds ago. */
  agoMs: number;
  session: string;
  seq?: number | undefined;
}

class World {
  file = FILE;
  row: StoredRow | null = null;
  /** What the server has sent on the connection last, and what the client has of it. */
  sent = 0;
  held: FileProgress | null = null;
  #version = 100;
  #nowMs = 1000;

  /** Writes a beat of the client and maybe one of another device that waits with it, and answers the client. */
  write(beat: Beat, { with: other, creditedMs = Number.POSITIVE_INFINITY }: { with?: Beat; creditedMs?: number } = {}) {
    this.#nowMs += 1000;
    const entry = this.#observe(beat, creditedMs);
    const own = entry;
    if (other !== undefined) mergeInto(entry, this.#observe(other));
    const written = this.#merge(entry);
    if (written === null) return null;
    const isCut = creditedMs < beat.played.reduce((sum, [from, to]) => sum + to - from, 0);
    const brief = written.toBrief({ held: this.sent, sent: isCut ? null : own }, NEXT_BEAT_MS);
    const whole = structuredClone(written.progress);
    this.sent = Math.max(this.sent, written.version);
    return { brief, whole, wire: toWire(beat) };
  }

  /** Writes a beat of another device, by another process or not: the client is not answered. */
  writeOther(beat: Beat): void {
    this.#merge(this.#observe(beat));
  }

  reconnect(): void {
    this.sent = 0;
  }

  reset(): void {
    if (this.row === null) return;
    this.row = {
      ...this.row,
      ...{ positionMs: 0, watched: [], watchedMs: 0, watchTimeMs: 0, completed: false, completionSource: null },
      ...{ lastWatchedUs: null, positionSession: null, positionSeq: null, resetAtUs: this.#nowUs() },
      ...{ epoch: this.row.epoch + 1, version: this.#version++ },
    };
  }

  /** As a change of the catalogue does: rows that it concerns are written anew. */
  change(facts: Partial<FileFacts>): void {
    this.file = { ...this.file, ...facts };
    if (this.row === null || !isStale(this.row, this.file)) return;
    const { lessonId, durationMs, assumedMs, counted } = this.file;
    this.row = { ...this.row, lessonId, durationMs, assumedMs, counted, version: this.#version++ };
  }

  /** The whole progress as it is now. */
  read(): FileProgress {
    const merge = { row: this.row as StoredRow, file: this.file, change: null, dropped: false, hasGivenUp: false };
    return structuredClone(new WrittenBeat(this.#observe(SIGHT), merge).progress);
  }

  #nowUs(): number {
    return START_US + this.#nowMs * 1000;
  }

  #observe({ agoMs, ...beat }: Beat, creditedMs = Number.POSITIVE_INFINITY): PendingBeat {
    const observedAtMs = this.#nowMs - agoMs;
    return toPendingBeat({
      ...beat,
      played: keepFirst(beat.played, creditedMs),
      ...{ userId: "u", fileId: "f", courseId: "c", observedAtMs },
    });
  }

  #merge(entry: PendingBeat): WrittenBeat | null {
    const toUs = (ms: number) => START_US + ms * 1000;
    const observed = {
      atUs: toUs(entry.position.observedAtMs),
      oldestUs: toUs(entry.oldestAtMs),
      nowUs: this.#nowUs(),
    };
    const merged = mergeBeat(this.row, this.file, entry, observed);
    if (merged.type === "straddles") return null;
    if (merged.type === "kept") return new WrittenBeat(entry, { ...merged, file: this.file, change: null });
    const { change } = merged;
    this.row = { ...change.next, version: this.#version++ };
    return new WrittenBeat(entry, {
      row: this.row,
      file: this.file,
      change,
      dropped: false,
      hasGivenUp: change.hasGivenUp,
    });
  }
}

const SIGHT: Beat = { positionMs: 0, played: [], agoMs: 0, session: "s" };

/** As the beat came over the wire. */
function toWire({ positionMs, played, seq, session }: Beat): Heartbeat {
  return JSON.parse(
    JSON.stringify({ fileId: "f", position: positionMs / 1000, played: toSeconds(played), sessionId: session, seq }),
  );
}

/** A world in which the client has played the first ten seconds and holds what the server has. */
function begin(): World {
  const world = new World();
  const first = world.write({ positionMs: 10_000, played: [[0, 10_000]], agoMs: 0, session: "s", seq: 1 });
  world.held = first?.whole ?? null;
  return world;
}

const NEXT: Beat = { positionMs: 20_000, played: [[10_000, 20_000]], agoMs: 0, session: "s", seq: 2 };

describe("the brief answer to a beat", () => {
  it("tells the new version, the old one and how much later the beat was seen, where the beat goes on", () => {
    expect(begin().write(NEXT)?.brief).toEqual({ version: 101, base: 100, laterMs: 1000, nextBeatMs: NEXT_BEAT_MS });
  });

  it("tells where to resume, where that is not two seconds before the position", () => {
    const credits = begin().write({ ...NEXT, positionMs: 560_000, played: [] });
    expect(credits?.brief).toMatchObject({ resumeAt: 0 });
    expect(begin().write({ ...NEXT, positionMs: 4000 })?.brief).toMatchObject({ resumeAt: 0 });
  });

  it("tells only the version that the sender holds, where the beat changed nothing", () => {
    const world = begin();
    const late = { ...NEXT, played: [], agoMs: 30_000, seq: 1 };
    expect(world.write(late)?.brief).toEqual({ version: 100, nextBeatMs: NEXT_BEAT_MS });
    world.change({ endMs: 9000 });
    expect(world.write(late)?.brief).toEqual({ version: 100, resumeAt: 0, nextBeatMs: NEXT_BEAT_MS });
  });

  it.each<[string, { before?: (world: World) => void; beat?: Partial<Beat>; how?: Parameters<World["write"]>[1] }]>([
    ["nothing was sent on the connection yet", { before: (world) => world.reconnect() }],
    ["another device has written the row", { before: (world) => world.writeOther({ ...NEXT, session: "tv" }) }],
    ["a reset came in between", { before: (world) => world.reset() }],
    ["the duration has changed", { before: (world) => world.change({ durationMs: 500_000 }) }],
    ["the file has moved to another lesson", { before: (world) => world.change({ lessonId: "l2" }) }],
    ["the budget cut the played ranges", { how: { creditedMs: 500 } }],
    ["a beat of another device was merged with it", { how: { with: { ...NEXT, session: "tv" } } }],
    ["the beat completes the file", { beat: { played: [[10_000, 510_000]] } }],
    ["the stored position is newer", { beat: { agoMs: 9000, session: "tv" } }],
    ["its time was counted before", { beat: { seq: 1 } }],
    ["it reaches past the end", { beat: { positionMs: 601_000, played: [[599_000, 601_000]] } }],
  ])("gives way to the whole answer where %s", (_when, { before, beat, how }) => {
    const world = begin();
    before?.(world);
    const answer = world.write({ ...NEXT, ...beat }, how);
    expect(answer?.whole).toBeDefined();
    expect(answer?.brief).toBeNull();
  });
});

const ranges = fc.array(
  fc
    .tuple(
      fc.nat(2400).map((step) => step * 250),
      fc.constantFrom(1, 250, 251, 2000, 9000),
    )
    .map(([from, length]): Range => [from, from + length]),
  { maxLength: 3 },
);
const beats = fc.record({
  positionMs: fc.nat(605_000),
  played: ranges,
  agoMs: fc.constantFrom(0, 0, 0, 0, 0, 500, 5000),
  session: fc.constantFrom("phone", "phone", "phone", "phone", "tv"),
  /** Most beats have a new number, some repeat one, some have none. */
  seq: fc.constantFrom("next", "next", "next", "next", "again", "none"),
});
const ownBeats = fc.record({
  kind: fc.constant("beat" as const),
  beat: beats,
  creditedMs: fc.constantFrom(1e9, 1e9, 1e9, 1e9, 1e9, 700),
  other: fc.oneof({ weight: 6, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: beats }),
  isAckLost: fc.constantFrom(false, false, false, false, false, true),
});
const events = fc.oneof(
  fc.record({ kind: fc.constant("other" as const), beat: beats }),
  fc.record({ kind: fc.constant("push" as const), isLost: fc.boolean() }),
  fc.constant({ kind: "reset" as const }),
  fc.constant({ kind: "reconnect" as const }),
  fc.record({
    kind: fc.constant("catalogue" as const),
    facts: fc.record({
      durationMs: fc.constantFrom(null, 300_000, 600_000, 900_000),
      endMs: fc.constantFrom(null, 200_000, 550_000),
      completeAtMs: fc.constantFrom(null, 20_000, 500_000),
    }),
  }),
);
const steps = fc.oneof({ weight: 12, arbitrary: ownBeats }, { weight: 2, arbitrary: events });

describe("a client that is told briefly", () => {
  it("holds after every ack what the whole ack would have told, to the byte, or knows that it has to read again", () => {
    let derived = 0;
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 60 }), (given) => {
        const world = new World();
        let lastSeq = 0;
        const number = ({ seq, ...beat }: { seq: string } & Omit<Beat, "seq">): Beat => {
          if (seq === "none") return beat;
          if (seq === "next") lastSeq++;
          return { ...beat, seq: lastSeq };
        };
        const receive = (whole: FileProgress) => {
          if (world.held === null || whole.version >= world.held.version) world.held = whole;
        };
        for (const step of given) {
          if (step.kind === "reset") world.reset();
          if (step.kind === "catalogue") world.change(step.facts);
          if (step.kind === "other") world.writeOther(number(step.beat));
          if (step.kind === "reconnect") world.reconnect();
          if (step.kind === "push" && world.row !== null) {
            world.sent = Math.max(world.sent, world.row.version);
            if (!step.isLost) receive(world.read());
          }
          if (step.kind !== "beat") continue;
          const beat = number(step.beat);
          const other = step.other === null ? null : number(step.other);
          // Beats with and without a number are never merged.
          const isMerged = other !== null && (other.seq === undefined) === (beat.seq === undefined);
          const answer = world.write(beat, { creditedMs: step.creditedMs, ...(isMerged && { with: other }) });
          if (answer === null || step.isAckLost) continue;
          const { brief, whole, wire } = answer;
          if (brief === null) {
            receive(whole);
            continue;
          }
          const next = world.held && applyBriefAck(world.held, wire, JSON.parse(JSON.stringify(brief)));
          if (next === null) {
            expect(world.held?.version).not.toBe(brief.base ?? brief.version);
            receive(world.read());
            continue;
          }
          expect(JSON.stringify(next)).toBe(JSON.stringify(whole));
          world.held = next;
          derived++;
        }
      }),
      { numRuns: 1000 },
    );
    expect(derived).toBeGreaterThan(1000);
  });

  it("computes with the milliseconds that were sent, wherever the position is", () => {
    fc.assert(
      fc.property(fc.integer({ min: 5001, max: 2_147_000_000 }), fc.nat(60_000), (fromMs, lengthMs) => {
        const world = new World();
        world.change({ durationMs: 2_147_483_000, completeAtMs: null, endMs: null });
        const beat = { agoMs: 0, session: "s", positionMs: fromMs, played: [] };
        const held = world.write({ ...beat, seq: 1 })?.whole as FileProgress;
        const next = { ...beat, positionMs: fromMs + lengthMs, played: [[fromMs, fromMs + lengthMs] as const], seq: 2 };
        const answer = world.write(next);
        if (answer === null || answer.brief === null) throw new Error("a beat that goes on was answered whole");
        expect(applyBriefAck(held, answer.wire, answer.brief)).toEqual(answer.whole);
        expect(fromSeconds(answer.wire.played ?? [])).toEqual(next.played);
        expect(toMs(answer.wire.position)).toBe(next.positionMs);
      }),
    );
  });
});
