import { compareBytes, laterOf, type ObservedPosition, type PendingBeat } from "./pending-beat.ts";

/*
 * Which of two places a row keeps: the one that it has, or that of a beat. The same order as `laterOf` has in the buffer,
 * and two rules for what only a row can meet.
 *
 * A row stores the place of one session. The process remembers for a while how far the other sessions were: an earlier beat
 * of them that comes late never takes the place back.
 *
 * A stored time that lies ahead of the database's clock shows that this clock was set back. By time, no beat would take the
 * place until the clock has caught up; so any beat takes it that was made just now.
 */

/** Where a user was in a file, and when by the database's clock, in microseconds. */
export interface Place {
  positionMs: number;
  lastWatchedUs: number | null;
  positionSession: string | null;
  positionSeq: number | null;
}

/** The highest numbers of sessions that do not have the place now. */
export type OtherSeqs = readonly (readonly [session: string, seq: number])[];

/** More devices than one person uses at a time. */
const MAX_OTHERS = 4;
/** What two processes know of the database's clock differs by far less. */
const AHEAD_US = 5_000_000;
/** Three beats: a beat that was made within this time comes from a player that is there. */
const LIVE_US = 30_000_000;

export interface Times {
  /** When the beat was observed, and the present time. */
  atUs: number;
  nowUs: number;
  otherSeqs?: OtherSeqs | undefined;
}

/** The place of the row after the beat; null where it stays as it is. A row without a position (made by a reset) takes any. */
export function placeOf(row: Place | null, beat: PendingBeat, { atUs, nowUs, otherSeqs }: Times): Place | null {
  const latest = otherSeqs === undefined ? beat.position : latestOf(beat, otherSeqs);
  if (latest === null) return null;
  // It may be earlier than the position of the entry, whose time was given.
  const earlierMs = beat.position.observedAtMs - latest.observedAtMs;
  return taken(row, latest, atUs - Math.round(earlierMs * 1000), nowUs);
}

/** The fields of the row that are its place. */
export function placeIn({ positionMs, lastWatchedUs, positionSession, positionSeq }: Place): Place {
  return { positionMs, lastWatchedUs, positionSession, positionSeq };
}

/** Whether at most the number of the beat differs. */
export function isSamePlace(a: Place, b: Place): boolean {
  return (
    a.positionMs === b.positionMs && a.lastWatchedUs === b.lastWatchedUs && a.positionSession === b.positionSession
  );
}

/** Whether the beat is of another session than the row's place, or of several. */
export function isOfOthers({ positionSession }: Place, { position, places }: PendingBeat): boolean {
  return position.session !== positionSession || (places !== null && places.size > 1);
}

/** What is known of other sessions after the beat changed the place of the row from `before` to `after`. */
export function seqsAfter(
  known: OtherSeqs | undefined,
  { position, places }: PendingBeat,
  before: Place,
  after: Place,
): OtherSeqs {
  const seqs = new Map(known);
  const note = (session: string, seq: number) => {
    const highest = Math.max(seq, seqs.get(session) ?? seq);
    seqs.delete(session); // so that it becomes the last one
    if (session !== after.positionSession && highest >= 0) seqs.set(session, highest);
  };
  if (before.positionSession !== null) note(before.positionSession, before.positionSeq ?? -1);
  for (const { session, seq } of places?.values() ?? [position]) note(session, seq);
  return [...seqs].slice(-MAX_OTHERS);
}

/** The latest position of the beat, without sessions that were further already; null where none is left. */
function latestOf({ position, places }: PendingBeat, otherSeqs: OtherSeqs): ObservedPosition | null {
  const isPast = ({ session, seq }: ObservedPosition) =>
    seq >= 0 && otherSeqs.some(([other, highest]) => other === session && seq <= highest);
  if (!isPast(position)) return position;
  const left = [...(places?.values() ?? [])].filter((place) => !isPast(place));
  return left.length === 0 ? null : left.reduce(laterOf);
}

/** The place after this position; null where the row's own stays. */
function taken(
  row: Place | null,
  { positionMs, session, seq }: ObservedPosition,
  atUs: number,
  nowUs: number,
): Place | null {
  const seen = { positionMs, lastWatchedUs: atUs, positionSession: session, positionSeq: seq };
  if (row === null || row.lastWatchedUs === null) return seen;
  const { lastWatchedUs, positionSession, positionSeq } = row;
  const isAhead = lastWatchedUs > nowUs + AHEAD_US;
  if (session === positionSession && seq >= 0 && positionSeq !== null && positionSeq >= 0 && seq !== positionSeq) {
    if (seq > positionSeq) return { ...seen, lastWatchedUs: isAhead ? atUs : Math.max(atUs, lastWatchedUs) };
    return atUs > lastWatchedUs ? { ...placeIn(row), lastWatchedUs: atUs } : null;
  }
  if (isAhead) return atUs > nowUs - LIVE_US ? seen : null;
  if (atUs !== lastWatchedUs) return atUs > lastWatchedUs ? seen : null;
  if (positionSession === null) return null;
  if (session !== positionSession) return compareBytes(session, positionSession) > 0 ? seen : null;
  return positionSeq !== null && seq > positionSeq ? seen : null;
}
