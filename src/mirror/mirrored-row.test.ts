import fc from "fast-check";
import { Timestamp } from "firebase-admin/firestore";
import { describe, expect, it } from "vitest";
import { type MirroredRow, toDocument, toMirroredRow, toRow } from "./mirrored-row.ts";

const ROW: MirroredRow = {
  userId: "ann",
  fileId: "file",
  lessonId: "lesson",
  courseId: "course",
  durationMs: 60_000,
  counted: true,
  positionMs: 5000,
  watched: "{[0,1000),[2000,3000)}",
  watchedMs: 2000,
  watchTimeMs: 3000,
  reportedBp: 0,
  completed: false,
  completionSource: null,
  epoch: 2,
  positionSession: "s",
  positionSeq: 7,
  writerSession: null,
  writerSeq: null,
  version: 42,
  baseVersion: null,
  resetAt: null,
  lastWatched: "2026-11-21T12:00:00.123456",
  beatAt: "1969-12-31T23:59:59.9",
  createdAt: "2026-11-21T12:00:00",
  updatedAt: "2026-11-21T12:00:00.000001",
};

const makeTimestamp = (seconds: number, nanos: number) => new Timestamp(seconds, nanos);
const there = (row: MirroredRow) => toDocument(row, makeTimestamp);
const andBack = (row: MirroredRow) => toMirroredRow({ ...there(row) });

describe("a row in the mirror", () => {
  it("keeps microseconds as timestamps and ranges as numbers, and comes back unchanged", () => {
    expect(there(ROW)).toMatchObject({
      watched: [0, 1000, 2000, 3000],
      lastWatched: new Timestamp(1795262400, 123456000),
    });
    expect(andBack(ROW)).toEqual(ROW);
  });

  it("comes back unchanged, whatever its times and ranges are", () => {
    const time = fc
      .tuple(
        fc.date({ min: new Date("0001-01-01Z"), max: new Date("9999-12-31Z"), noInvalidDate: true }),
        fc.nat(999_999),
      )
      .map(([date, micros]) =>
        `${date.toISOString().slice(0, 19)}.${String(micros).padStart(6, "0")}`.replace(/\.?0+$/, ""),
      )
      .filter((text) => text.length > 18);
    const ranges = fc
      .array(fc.nat(2 ** 31 - 1), { maxLength: 40 })
      .map((bounds) => [...new Set(bounds)].sort((a, b) => a - b))
      .map((bounds) => bounds.slice(0, bounds.length - (bounds.length % 2)))
      .map((bounds) => bounds.map((bound, i) => (i % 2 === 0 ? `[${bound}` : `${bound})`)).join(","));
    fc.assert(
      fc.property(time, ranges, (lastWatched, watched) => {
        const row = { ...ROW, lastWatched, watched: `{${watched}}` };
        expect(andBack(row)).toEqual(row);
      }),
    );
  });

  it("keeps values that Firestore cannot hold as text, and comes back unchanged", () => {
    const row = {
      ...ROW,
      resetAt: "infinity",
      beatAt: "0044-03-15T12:00:00 BC",
      watched: "{(,5)}",
      writerSeq: "9223372036854775807",
    };
    expect(there(row)).toMatchObject({ resetAt: "infinity", watched: "{(,5)}" });
    expect(andBack(row)).toEqual(row);
  });

  it("holds integers as numbers up to 2^53, and larger ones as text", () => {
    const selected = { ...ROW, watchTimeMs: "123", positionSeq: "9007199254740991", writerSeq: "9007199254740993" };
    expect(toRow(selected)).toMatchObject({
      watchTimeMs: 123,
      positionSeq: 9007199254740991,
      writerSeq: "9007199254740993",
    });
    expect(toRow(ROW)).toEqual(ROW);
  });

  it("is not read from a document that Playhead did not write", () => {
    expect(toMirroredRow({ userId: "ann", fileId: "file" })).toBeNull();
    expect(toMirroredRow({})).toBeNull();
  });
});
