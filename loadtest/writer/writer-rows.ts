import type { Range } from "../../src/protocol/ranges.ts";
import { DURATION_SECONDS, toFileId, toLessonId, toUserId } from "../load/catalogue.ts";

/*
 * What the writer's benchmark writes. A batch is what a flush of many players is: distinct users in no order, each
 * with its own file.
 */

export interface BenchRow {
  userId: string;
  fileId: string;
  lessonId: string;
  positionMs: number;
  played: Range[];
  session: string;
  seq: number;
}

interface Shape {
  users: number;
  files: number;
  batchSize: number;
}

const BEAT_MS = 10_000;
const FRAGMENTS = 20;
const FRAGMENT_STEP_MS = Math.floor((DURATION_SECONDS * 1000) / FRAGMENTS);

/** Every user begins every file, one file after another. */
export function* freshRows(shape: Shape): Generator<BenchRow[]> {
  for (let round = 0; round < shape.files; round++) {
    yield* toBatches(shape, (user) => makeRow(user, (user + round) % shape.files, 0, [[0, BEAT_MS]]));
  }
}

/** Every user goes on in one file, beat by beat: one range that grows. */
export function* sequentialRows(shape: Shape): Generator<BenchRow[]> {
  for (let beat = 1; beat < 1000; beat++) {
    yield* toBatches(shape, (user) =>
      makeRow(user, user % shape.files, beat, [[beat * BEAT_MS, (beat + 1) * BEAT_MS]]),
    );
  }
}

/** Every user has another file in 20 fragments; then extends them in turn, a second at a time. */
export function* fragmentedRows(shape: Shape, part: "made" | "extended"): Generator<BenchRow[]> {
  const fileOf = (user: number) => (user + 1) % shape.files;
  if (part === "made") {
    const played = Array.from(
      { length: FRAGMENTS },
      (_, i): Range => [i * FRAGMENT_STEP_MS, i * FRAGMENT_STEP_MS + BEAT_MS],
    );
    yield* toBatches(shape, (user) => makeRow(user, fileOf(user), 1, played));
    return;
  }
  for (let beat = 2; beat < 1000; beat++) {
    const from = (beat % FRAGMENTS) * FRAGMENT_STEP_MS + BEAT_MS + Math.floor((beat - 2) / FRAGMENTS) * 1000;
    yield* toBatches(shape, (user) => makeRow(user, fileOf(user), beat, [[from, from + 1000]]));
  }
}

function makeRow(user: number, file: number, seq: number, played: Range[]): BenchRow {
  return {
    userId: toUserId(user),
    fileId: toFileId(0, file),
    lessonId: toLessonId(0, file),
    positionMs: played.at(-1)?.[1] ?? 0,
    played,
    session: `session-of-${user}-in-${file}`,
    seq,
  };
}

/** All users once, in an order that has nothing to do with their ids. */
function* toBatches({ users, batchSize }: Shape, row: (user: number) => BenchRow): Generator<BenchRow[]> {
  const stride = coprimeNear(Math.floor(users * 0.618), users);
  let batch: BenchRow[] = [];
  for (let i = 0; i < users; i++) {
    batch.push(row((i * stride) % users));
    if (batch.length === batchSize) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

function coprimeNear(start: number, of: number): number {
  let stride = Math.max(1, start);
  while (gcd(stride, of) !== 1) stride += 1;
  return stride;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
