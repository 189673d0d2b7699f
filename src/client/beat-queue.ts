import { lengthOf, type Range, toSeconds, unionOf } from "../protocol/ranges.ts";
import type { Heartbeat, PlayerState } from "../protocol/wire.ts";
import { type Clock, type Moment, toAgeMs } from "./clock.ts";

/*
 * The beats that wait for their ack, oldest first. A beat is fresh until it is sent for the first time; until then more
 * played ranges may join it. A sent beat keeps its seq and its content until the server has answered: nobody knows
 * whether the first copy arrived, and only an identical second copy changes nothing.
 */

const MAX_RANGES = 32;
const MAX_BATCH_BEATS = 100;
/** Half of what the server takes in one frame. */
const MAX_BATCH_BYTES = 32 * 1024;
/** How many beats wait that were never sent: more are joined. So a queue does not grow with the length of an outage. */
const MAX_FRESH_BEATS = 4;

/** Where a player is, and since when. */
export interface Observation {
  fileId: string;
  /** Whole milliseconds. */
  positionMs: number;
  state: PlayerState;
  rate: number;
  /** When the media reached the position: while it is paused, the moment of the pause. */
  seen: Moment;
  /** The epoch of the progress that the player builds on; undefined while the player does not know it. */
  epoch: number | undefined;
  /** The stored place was not known yet. Such a beat is not sent before `place` has told the queue that place. */
  unplaced?: boolean;
}

export interface QueuedBeat extends Observation {
  sessionId: string;
  seq: number;
  played: readonly Range[];
  sent: boolean;
}

/** A beat, and the form in which it goes out now. */
export interface SentBeat {
  beat: QueuedBeat;
  wire: Heartbeat;
}

export interface BeatQueue {
  readonly size: number;
  /** Oldest first. */
  readonly beats: readonly QueuedBeat[];
  /** Adds an observation and played ranges: to the newest beat if that is fresh and nothing is lost, else as a new beat. */
  push(seen: Observation, played: readonly Range[]): void;
  /** Puts beats of earlier sessions in front. */
  restore(beats: readonly QueuedBeat[]): void;
  /**
   * The oldest beats that fit one call, in the form of the wire. From here on they count as sent.
   * @param mayGo leaves out the beats for which it is false
   */
  takeBatch(maxBeats?: number, mayGo?: (beat: QueuedBeat) => boolean): SentBeat[];
  /** Sets the stored place of a file. Beats that were made before it was known may go now, but not back behind it. */
  place(fileId: string, positionMs: number): void;
  /** Removes a beat that the server has answered. */
  settle(beat: QueuedBeat): void;
  /** Removes the fresh beats of a file whose progress was reset. */
  forget(fileId: string): void;
}

/** A beat in the form of the wire. Its age is counted anew at every send. */
function toWireBeat(beat: QueuedBeat, clock: Clock): Heartbeat {
  return {
    fileId: beat.fileId,
    position: beat.positionMs / 1000,
    played: toSeconds(beat.played),
    state: beat.state,
    rate: beat.rate,
    ageMs: toAgeMs(clock, beat.seen),
    sessionId: beat.sessionId,
    seq: beat.seq,
    epoch: beat.epoch,
  };
}

export function createBeatQueue({ clock }: { clock: Clock }, { sessionId }: { sessionId: string }): BeatQueue {
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
      const next = { ...seen, sessionId, sent: false };
      const fresh = beats.filter((beat) => !beat.sent);
      const run = fresh.filter((beat) => isSameRun(beat, next));
      const newest = beats.at(-1);
      let joined = fresh.length < MAX_FRESH_BEATS ? [] : run;
      if (newest && run.includes(newest)) {
        // A part that played twice is time spent twice, and a union holds it once: then the beats stay apart.
        const apart = lengthOf(newest.played) + lengthOf(unionOf(played));
        if (lengthOf(toUnion([newest], played)) === apart) joined = [newest];
        // The number of a beat that was never sent is free again.
        if (joined.includes(newest)) seq--;
      }
      const ranges = toUnion(joined, played);
      beats = beats.filter((beat) => !joined.includes(beat));
      do beats.push({ ...next, seq: ++seq, played: ranges.splice(0, MAX_RANGES) });
      while (ranges.length > 0);
    },
    restore(restored) {
      beats = [...restored, ...beats];
    },
    takeBatch(maxBatchBeats = MAX_BATCH_BEATS, mayGo = () => true) {
      const batch: SentBeat[] = [];
      let bytes = '{"beats":[]}'.length;
      for (const beat of beats) {
        if (batch.length === maxBatchBeats) break;
        if (beat.unplaced || !mayGo(beat)) continue;
        const wire = toWireBeat(beat, clock);
        bytes += new TextEncoder().encode(JSON.stringify(wire)).length + 1;
        if (bytes > MAX_BATCH_BYTES && batch.length > 0) break;
        beat.sent = true;
        batch.push({ beat, wire });
      }
      return batch;
    },
    place(fileId, positionMs) {
      for (const beat of beats) {
        if (beat.fileId !== fileId || !beat.unplaced) continue;
        beat.unplaced = false;
        beat.positionMs = Math.max(beat.positionMs, positionMs);
      }
    },
    settle(beat) {
      beats = beats.filter((other) => other !== beat);
    },
    forget(fileId) {
      beats = beats.filter((beat) => beat.sent || beat.fileId !== fileId);
    },
  };
}

type Run = Pick<QueuedBeat, "fileId" | "sessionId" | "epoch">;

function isSameRun(a: Run, b: Run): boolean {
  return a.fileId === b.fileId && a.sessionId === b.sessionId && a.epoch === b.epoch;
}

/** All that the beats and the ranges played. */
function toUnion(beats: readonly QueuedBeat[], more: readonly Range[] = []): Range[] {
  return unionOf([...beats.flatMap((beat) => beat.played), ...more]);
}
