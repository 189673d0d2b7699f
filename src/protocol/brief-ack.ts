import { closeGaps, fromSeconds, lengthOf, percentageOf, toMs, toSeconds, unionOf } from "./ranges.ts";
import type { Cut, FileProgress, Heartbeat } from "./wire.ts";

/*
 * The brief ack of a heartbeat. It leaves out everything that its receiver derives from the progress that it holds and
 * from the beat that it sent. The server sends it only to a socket that asked for it (`acks: "brief"`) and only where
 * this derivation gives exactly the stored row; otherwise the ack is whole.
 *
 * Pages keep an old client library for as long as they like: whoever changes a rule here gives the new rule a new name
 * in the handshake. Browsers load this file, so it imports values from ranges.ts alone.
 */

/** Resuming starts this much before the position, so that the listener hears the sentence again. */
export const RESUME_BACK_MS = 2000;

export interface BriefAck {
  /** The version of the progress now. */
  version: number;
  /** The version that the beat was added to. Absent where the beat changed nothing: then the receiver holds `version`. */
  base?: number | undefined;
  /** `lastWatched` minus the `lastWatched` of the base, in milliseconds. Only beside `base`. */
  laterMs?: number | undefined;
  /** In seconds; absent where it is `RESUME_BACK_MS` before the position. */
  resumeAt?: number | undefined;
  nextBeatMs: number;
  /** What was cut from the beat; absent where nothing was. */
  cut?: Cut[] | undefined;
}

/**
 * The progress after a beat, exactly as a whole ack would have told it.
 * @param held the progress that the receiver holds
 * @param beat the heartbeat as it was sent
 * @returns null where the receiver holds another version than the one that the ack builds on: it has to read the progress
 */
export function applyBriefAck(held: FileProgress, beat: Heartbeat, ack: BriefAck): FileProgress | null {
  const { version, base, laterMs = 0 } = ack;
  if (held.version !== (base ?? version)) return null;
  const positionMs = toMs(base === undefined ? held.position : beat.position);
  const placed = {
    ...held,
    position: positionMs / 1000,
    resumeAt: ack.resumeAt ?? (positionMs - RESUME_BACK_MS) / 1000,
  };
  if (base === undefined) return placed;
  const played = fromSeconds(beat.played ?? []);
  const watched = closeGaps(unionOf([...fromSeconds(held.watched), ...played]));
  const watchedMs = lengthOf(watched);
  // Time spent grows by all that a numbered beat played, and by what is new of a beat without a number.
  const spentMs = beat.seq === undefined ? watchedMs - toMs(held.watchedSeconds) : lengthOf(played);
  return {
    ...placed,
    watched: toSeconds(watched),
    watchedSeconds: watchedMs / 1000,
    watchTimeSeconds: (toMs(held.watchTimeSeconds) + spentMs) / 1000,
    percentage: percentageOf(watchedMs, held.duration === null ? null : toMs(held.duration)),
    lastWatched: new Date(Date.parse(held.lastWatched as string) + laterMs).toISOString(),
    version,
  };
}
