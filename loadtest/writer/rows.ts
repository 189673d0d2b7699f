import type { BareRow } from "../contenders/bare-batches.ts";
import { DURATION_SECONDS, toCourseId, toFileId, toLessonId, toUserId } from "../load/catalogue.ts";
import type { WriterRow } from "./server-writer.ts";

/*
 * Makes batches like those of many players: each row is of another user, in no order, in one file.
 */

export type BenchRow = WriterRow & BareRow;
type Range = readonly [fromMs: number, toMs: number];

export interface Shape {
  users: number;
  files: number;
  batchSize: number;
}

const BEAT_MS = 10_000;
const FRAGMENTS = 20;
const FRAGMENT_STEP_MS = Math.floor((DURATION_SECONDS * 1000) / FRAGMENTS);
/** A prime: each user comes once, in an order unlike that of the ids, unless the number of users is its multiple. */
const STRIDE = 7919;

/** Every user starts every file, one file after another. */
export function* freshRows(shape: Shape): Generator<BenchRow[]> {
  for (let round = 0; round < shape.files; round++) {
    yield* toBatches(shape, (user) => makeRow(user, (user + round) % shape.files, 0, [[0, BEAT_MS]]));
  }
}

/** Every user continues one file: one range that grows. */
export function* sequentialRows(shape: Shape): Generator<BenchRow[]> {
  for (let beat = 1; beat < 1000; beat++) {
    const played: Range[] = [[beat * BEAT_MS, (beat + 1) * BEAT_MS]];
    yield* toBatches(shape, (user) => makeRow(user, user % shape.files, beat, played));
  }
}

/** Every user plays 20 fragments of a second file. */
export function* fragmentedRows(shape: Shape): Generator<BenchRow[]> {
  const fragments = Array.from({ length: FRAGMENTS }, (_, i) => i * FRAGMENT_STEP_MS);
  const played = fragments.map((from): Range => [from, from + BEAT_MS]);
  yield* toBatches(shape, (user) => makeRow(user, (user + 1) % shape.files, 1, played));
}

/** Every user extends the fragments in turn, by a second each. */
export function* extendedRows(shape: Shape): Generator<BenchRow[]> {
  for (let beat = 2; beat < 1000; beat++) {
    const from = (beat % FRAGMENTS) * FRAGMENT_STEP_MS + BEAT_MS + Math.floor((beat - 2) / FRAGMENTS) * 1000;
    yield* toBatches(shape, (user) => makeRow(user, (user + 1) % shape.files, beat, [[from, from + 1000]]));
  }
}

function makeRow(user: number, file: number, seq: number, played: Range[]): BenchRow {
  return {
    userId: toUserId(user),
    fileId: toFileId(0, file),
    lessonId: toLessonId(0, file),
    courseId: toCourseId(0),
    positionMs: played.at(-1)?.[1] ?? 0,
    played,
    session: `session-of-${user}-in-${file}`,
    seq,
  };
}

function* toBatches({ users, batchSize }: Shape, row: (user: number) => BenchRow): Generator<BenchRow[]> {
  for (let from = 0; from < users; from += batchSize) {
    const length = Math.min(batchSize, users - from);
    yield Array.from({ length }, (_, i) => row(((from + i) * STRIDE) % users));
  }
}
