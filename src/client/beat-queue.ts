import type { Heartbeat, PlayerState } from "../protocol/heartbeat.ts";
import { isOverlapping, type Range, toSeconds, unionOf } from "../protocol/ranges.ts";
import { type Clock, type Moment, toAgeMs } from "./clock.ts";

/*
 * The beats that wait for their ack, oldest first. A beat is `fresh` until it goes out for the first time; until
 * then what is played meanwhile may join it. Once sent it keeps its seq and its content until the server has
 * answered for it: whether the first copy arrived is not known, and only an identical one is harmless.
 */

const MAX_RANGES = 32;
const MAX_BATCH_BEATS = 100;
/** Half of what the server takes in one frame. */
const MAX_BATCH_BYTES = 32 * 1024;
const MAX_KEPT_BEATS = 500;

/** Where a player is, and since when. */
export interface Observation {
  fileId: string;
  /** Whole milliseconds. */
  positionMs: number;
  state: PlayerState;
  rate: number;
  /** When the media came to be there: while it is paused, the moment of the pause. */
  seen: Moment;
  /** Of the progress the player builds on; undefined while it is not known. */
  epoch: number | undefined;
}

export interface QueuedBeat extends Observation {
  sessionId: string;
  seq: number;
  played: readonly Range[];
  sent: boolean;
}

export interface BeatQueue {
  readonly size: number;
  /** All of them, oldest first. */
  readonly beats: readonly QueuedBeat[];
  /** Adds what was seen and played, to the newest beat where that one is fresh and nothing is lost by it. */
  push(seen: Observation, played: readonly Range[]): void;
  /** Puts beats of earlier sessions in front. */
  restore(beats: readonly QueuedBeat[]): void;
  /** The oldest beats that fit one call, as they go over the wire now. From here on they are sent. */
  takeBatch(maxBeats?: number): { beat: QueuedBeat; wire: Heartbeat }[];
  /** The server has answered for it. */
  settle(beat: QueuedBeat): void;
  /** Drops the fresh beats of a file: its progress was reset. */
  forget(fileId: string): void;
}

/** How a beat goes over the wire now; its age is counted anew every time. */
export function toWireBeat(beat: QueuedBeat, clock: Clock): Heartbeat {
  return {
    fileId: beat.fileId,
    position: beat.positionMs / 1000,
    played: toSeconds(beat.played),
    state: beat.state,
    rate: beat.rate,
    ageMs: toAgeMs(clock, beat.seen),
    sessionId: beat.sessionId,
    seq: beat.seq,
    ...(beat.epoch === undefined ? {} : { epoch: beat.epoch }),
  };
}

export function createBeatQueue(
  { clock }: { clock: Clock },
  options: { sessionId: string; maxBeats?: number },
): BeatQueue {
  const { sessionId, maxBeats = MAX_KEPT_BEATS } = options;
  let beats: QueuedBeat[] = [];
  let seq = 0;

  return {
    get size() {
      return beats.length;
    },
    get beats() {
      return beats;
    },
    push(seen, played) {
      const ranges = unionOf(played);
      const newest = beats.at(-1);
      if (newest && canJoin(newest, { ...seen, sessionId }, ranges)) {
        Object.assign(newest, seen, { played: unionOf([...newest.played, ...ranges]) });
        return;
      }
      for (const chunk of toChunks(ranges)) {
        beats.push({ ...seen, sessionId, seq: ++seq, played: chunk, sent: false });
      }
      if (beats.length > maxBeats) beats = compact(beats);
    },
    restore(restored) {
      beats = [...restored, ...beats];
    },
    takeBatch(maxBatchBeats = MAX_BATCH_BEATS) {
      const batch: { beat: QueuedBeat; wire: Heartbeat }[] = [];
      let bytes = '{"beats":[]}'.length;
      for (const beat of beats.slice(0, maxBatchBeats)) {
        const wire = toWireBeat(beat, clock);
        bytes += new TextEncoder().encode(JSON.stringify(wire)).length + 1;
        if (bytes > MAX_BATCH_BYTES && batch.length > 0) break;
        batch.push({ beat, wire });
      }
      for (const { beat } of batch) beat.sent = true;
      return batch;
    },
    settle(beat) {
      beats = beats.filter((other) => other !== beat);
    },
    forget(fileId) {
      beats = beats.filter((beat) => beat.sent || beat.fileId !== fileId);
    },
  };
}

function isSameRun(a: Pick<QueuedBeat, "fileId" | "sessionId" | "epoch">, b: typeof a): boolean {
  return a.fileId === b.fileId && a.sessionId === b.sessionId && a.epoch === b.epoch;
}

/** Overlapping ranges stay apart: played twice is time spent twice, and a union would say once. */
function canJoin(
  newest: QueuedBeat,
  seen: Pick<QueuedBeat, "fileId" | "sessionId" | "epoch">,
  ranges: Range[],
): boolean {
  if (newest.sent || !isSameRun(newest, seen) || isOverlapping(newest.played, ranges)) return false;
  return unionOf([...newest.played, ...ranges]).length <= MAX_RANGES;
}

function toChunks(ranges: Range[]): Range[][] {
  const chunks: Range[][] = [];
  for (let from = 0; from === 0 || from < ranges.length; from += MAX_RANGES)
    chunks.push(ranges.slice(from, from + MAX_RANGES));
  return chunks;
}

/**
 * Joins the fresh beats of each file into as few as their ranges need. Nothing played is lost; time spent twice on
 * the same part is counted once, which is the price of a bound.
 */
function compact(beats: QueuedBeat[]): QueuedBeat[] {
  const replaced = new Map<QueuedBeat, QueuedBeat | null>();
  for (const beat of beats) {
    if (beat.sent || replaced.has(beat)) continue;
    const run = beats.filter((other) => !other.sent && isSameRun(other, beat));
    const latest = run.at(-1) as QueuedBeat;
    const chunks = toChunks(unionOf(run.flatMap((other) => other.played)));
    const kept = run.slice(-chunks.length);
    for (const other of run) replaced.set(other, null);
    kept.forEach((slot, index) => {
      replaced.set(slot, { ...latest, seq: slot.seq, played: chunks[index] ?? [] });
    });
  }
  return beats.map((beat) => (replaced.has(beat) ? replaced.get(beat) : beat)).filter((beat) => beat != null);
}
