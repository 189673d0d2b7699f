import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lengthOf, type Range, unionOf } from "../protocol/ranges.ts";
import {
  compareBytes,
  keyOf,
  laterOf,
  mergeInto,
  type Observation,
  type PendingBeat,
  toPendingBeat,
} from "./pending-beat.ts";

function observe(given: Partial<Observation> = {}): Observation {
  return {
    userId: "u",
    fileId: "f",
    courseId: "c",
    positionMs: 0,
    observedAtMs: 0,
    session: "s",
    seq: 0,
    played: [],
    ...given,
  };
}

function mergeAll(observations: readonly Observation[]): PendingBeat {
  const [first, ...rest] = observations.map(toPendingBeat) as [PendingBeat, ...PendingBeat[]];
  for (const beat of rest) mergeInto(first, beat);
  return first;
}

const played = fc.array(
  fc.tuple(fc.nat(50), fc.nat(50)).map(([a, b]): Range => [Math.min(a, b), Math.max(a, b)]),
  { maxLength: 4 },
);

/** Beats of three devices; few values, so that times and numbers meet. The content follows from session and number. */
const someBeats = fc
  .uniqueArray(
    fc.record({ session: fc.constantFrom("a", "b", "ö"), seq: fc.nat(6), observedAtMs: fc.nat(3), played }),
    {
      minLength: 1,
      maxLength: 10,
      selector: ({ session, seq }) => `${session}${seq}`,
    },
  )
  .map((beats) => beats.map((beat, i) => observe({ ...beat, positionMs: 1000 + i })));

const shuffled = someBeats.chain((beats) =>
  fc.tuple(fc.constant(beats), fc.shuffledSubarray(beats, { minLength: beats.length, maxLength: beats.length })),
);

describe("mergeInto", () => {
  it("ends with the same position and union in every order of arrival, duplicates included", () => {
    fc.assert(
      fc.property(shuffled, ([beats, order]) => {
        const merged = mergeAll(beats);
        const other = mergeAll([...order, ...order]);
        expect(other.position).toEqual(merged.position);
        expect(other.played).toEqual(merged.played);
      }),
    );
  });

  it("takes the highest number of the session that was seen last", () => {
    fc.assert(
      fc.property(someBeats, (beats) => {
        const lastSeenMs = (session: string) =>
          Math.max(...beats.filter((beat) => beat.session === session).map((beat) => beat.observedAtMs));
        const newest = [...beats].sort(
          (a, b) =>
            lastSeenMs(b.session) - lastSeenMs(a.session) ||
            compareBytes(b.session, a.session) ||
            (b.seq ?? -1) - (a.seq ?? -1),
        )[0] as Observation;
        expect(mergeAll(beats).position).toEqual({
          positionMs: newest.positionMs,
          observedAtMs: lastSeenMs(newest.session),
          session: newest.session,
          seq: newest.seq,
        });
        expect(mergeAll(beats).played).toEqual(unionOf(beats.flatMap((beat) => beat.played)));
      }),
    );
  });

  it("never replaces a newer position by an older one", () => {
    const early = { positionMs: 1, observedAtMs: 5, session: "z", seq: 9 };
    const later = { ...early, positionMs: 2, observedAtMs: 6, session: "a", seq: 0 };
    expect(laterOf(early, later)).toBe(later);
    const next = { ...early, positionMs: 3, seq: 10 };
    expect(laterOf(next, early)).toBe(next);
    // U+FF5E sorts before U+1F600 by bytes, and after it by JavaScript's own order.
    const other = { ...early, session: "\u{1F600}" };
    expect(laterOf(other, { ...early, session: "\uFF5E" })).toBe(other);
  });

  it("takes the higher number of one session, even if the network made it look earlier", () => {
    const beat = { positionMs: 10_000, observedAtMs: 500, session: "s", seq: 1 };
    const seek = { positionMs: 90_000, observedAtMs: 400, session: "s", seq: 2 };
    const expected = { ...seek, observedAtMs: 500 };
    expect([laterOf(beat, seek), laterOf(seek, beat)]).toEqual([expected, expected]);
  });

  it("claims the watch time of a numbered beat once, however often it is sent", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(4), { minLength: 1, maxLength: 12 }), (extra) => {
        // A client sends in order, and again from any number on that was not acked.
        const sent: number[] = [];
        for (const [next, back] of extra.entries())
          for (let seq = Math.max(0, next - back); seq <= next; seq++) sent.push(seq);
        const lengthOfSeq = (seq: number) => 10 + seq;
        const { claims } = mergeAll(sent.map((seq) => observe({ seq, played: [[0, lengthOfSeq(seq)]] })));
        const seqs = extra.map((_, seq) => seq);
        expect(claims).toEqual({ session: "s", seqs, lengthsMs: seqs.map(lengthOfSeq), moreMs: 0 });
      }),
    );
  });

  it("keeps the first session's claims apart from the time of all other sessions", () => {
    const { claims, lastSession, lastSeq } = mergeAll([
      observe({ session: "a", seq: 4, played: [[0, 100]] }),
      observe({ session: "a", seq: 5, played: [[100, 250]] }),
      observe({ session: "b", seq: 1, played: [[0, 30]] }),
      observe({ session: "b", seq: 1, played: [[0, 30]] }),
      observe({ session: "b", seq: 2, played: [[30, 37]] }),
    ]);
    expect(claims).toEqual({ session: "a", seqs: [4, 5], lengthsMs: [100, 150], moreMs: 37 });
    expect([lastSession, lastSeq]).toEqual(["b", 2]);
  });

  it("claims all played time, re-watching included, and keeps the union of the ranges", () => {
    const again: Range[] = [
      [0, 100],
      [50, 120],
    ];
    const { claims, played: union } = mergeAll([observe({ played: again })]);
    expect(claims?.lengthsMs).toEqual([lengthOf(again)]);
    expect(union).toEqual([[0, 120]]);
  });

  it("has no claims for beats without a number", () => {
    expect(mergeAll([observe({ seq: undefined, played: [[0, 9]] })]).claims).toBeNull();
  });

  it("keeps the highest progress that a legacy client reported", () => {
    const merged = mergeAll([
      observe({ seq: undefined, reportedBp: 5000 }),
      observe({ seq: undefined, reportedBp: 700, reportedDone: true }),
      observe({ seq: undefined }),
    ]);
    expect([merged.reportedBp, merged.reportedDone]).toEqual([5000, true]);
  });
});

describe("keyOf", () => {
  it("differs for other users, files and epochs, and for beats without a number", () => {
    const keys = [
      {},
      { userId: "v" },
      { fileId: "g" },
      { epoch: 0 },
      { epoch: 1 },
      { seq: undefined },
      { userId: "u\u0001f", fileId: "" },
    ].map((given) => keyOf(toPendingBeat(observe(given))));
    expect(new Set(keys).size).toBe(keys.length);
    expect(keyOf(toPendingBeat(observe({ session: "t", seq: 9, courseId: "d" })))).toBe(keys[0]);
  });
});

describe("compareBytes", () => {
  it("orders texts by their UTF-8 bytes, whatever characters they have", () => {
    const ids = [
      "",
      "a",
      "ab",
      "b",
      "é",
      "z",
      "\ud7ff",
      "\ue000",
      "\uffff",
      "😀",
      "😀a",
      "a😀",
      "a\uffff",
      "𐀀",
      "\u{10ffff}",
    ];
    for (const a of ids) {
      for (const b of ids) {
        const expected = Buffer.compare(Buffer.from(a), Buffer.from(b));
        expect(Math.sign(compareBytes(a, b)), `${a} and ${b}`).toBe(expected);
      }
    }
  });
});
