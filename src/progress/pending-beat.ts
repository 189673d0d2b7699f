import { lengthOf, type Range, unionOf } from "../protocol/ranges.ts";

/*
 * What waits for the database: one entry per user, file and epoch. Later heartbeats of the same key are merged into
 * it by the same rules as the database merges it into the row, so that the order of arrival changes nothing.
 */

/** Where a player was, and when: a last-writer-wins register ordered by (observedAt, session, seq). */
export interface ObservedPosition {
  positionMs: number;
  /** The process's monotonic clock less the beat's age. */
  observedAtMs: number;
  session: string;
  /** -1 where the player does not number its beats. */
  seq: number;
}

export interface PendingBeat {
  userId: string;
  fileId: string;
  courseId: string;
  epoch: number | null;
  position: ObservedPosition;
  /** The union of what was played. */
  played: Range[];
  /**
   * Watch time grows once a (session, seq). The first run of one session is judged against the row's last writer, in
   * the database; what follows from other sessions grows in any case. Null for beats without a number: those grow by
   * what the union grew.
   */
  claims: { session: string; seqs: number[]; lengthsMs: number[]; moreMs: number } | null;
  lastSession: string;
  lastSeq: number;
  /** A legacy client's word about itself: hundredths of a percent. */
  reportedBp: number;
  reportedDone: boolean;
  /** When the oldest of the merged beats was observed. */
  oldestAtMs: number;
  /** The beats that were merged into this one, where a reset may turn out to part them; none in a beat by itself. */
  parts: PendingBeat[];
}

/** What a validated heartbeat brings, its played ranges already within the user's budget. */
export interface Observation {
  userId: string;
  fileId: string;
  courseId: string;
  epoch?: number | undefined;
  positionMs: number;
  observedAtMs: number;
  session: string;
  seq?: number | undefined;
  played: readonly Range[];
  reportedBp?: number;
  reportedDone?: boolean;
}

export function toPendingBeat(observed: Observation): PendingBeat {
  const { userId, fileId, courseId, positionMs, observedAtMs, session, seq = -1 } = observed;
  return {
    userId,
    fileId,
    courseId,
    epoch: observed.epoch ?? null,
    position: { positionMs, observedAtMs, session, seq },
    played: unionOf(observed.played),
    claims: seq < 0 ? null : { session, seqs: [seq], lengthsMs: [lengthOf(observed.played)], moreMs: 0 },
    lastSession: session,
    lastSeq: seq,
    reportedBp: observed.reportedBp ?? 0,
    reportedDone: observed.reportedDone ?? false,
    oldestAtMs: observedAtMs,
    parts: [],
  };
}

/**
 * Beats with the same key are merged. The parts are parted by U+0000, which no id contains. Numbered and unnumbered
 * beats earn watch time by different rules and stay apart.
 */
export function keyOf(beat: PendingBeat): string {
  return `${rowKeyOf(beat)}\u0000${beat.epoch ?? ""}${beat.claims === null ? "u" : "n"}`;
}

/** The row that the beat writes to. Two beats of one row never go into one statement. */
export function rowKeyOf(beat: { userId: string; fileId: string }): string {
  return `${beat.userId}\u0000${beat.fileId}`;
}

export function isNewer(a: ObservedPosition, b: ObservedPosition): boolean {
  if (a.observedAtMs !== b.observedAtMs) return a.observedAtMs > b.observedAtMs;
  if (a.session !== b.session) return compareBytes(a.session, b.session) > 0;
  return a.seq > b.seq;
}

/**
 * By UTF-8 bytes, which is by code points, as PostgreSQL's collation "C" orders them; JavaScript's own order differs
 * past U+FFFF. Both are well-formed.
 */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [unitA, unitB] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (unitA !== unitB) return rankOf(unitA) - rankOf(unitB);
  }
  return a.length - b.length;
}

/** A surrogate stands for a code point past all others. */
function rankOf(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** Merges a later arrival of the same key into an entry that waits. */
export function mergeInto(entry: PendingBeat, beat: PendingBeat): void {
  if (entry.parts.length === 0) entry.parts.push(copyOf(entry));
  entry.parts.push(beat);
  entry.oldestAtMs = Math.min(entry.oldestAtMs, beat.oldestAtMs);
  if (isNewer(beat.position, entry.position)) entry.position = beat.position;
  if (beat.played.length > 0) entry.played = unionOf([...entry.played, ...beat.played]);
  entry.reportedBp = Math.max(entry.reportedBp, beat.reportedBp);
  entry.reportedDone ||= beat.reportedDone;
  mergeClaims(entry, beat);
}

/** Of a single beat, before another is merged into it. */
function copyOf(beat: PendingBeat): PendingBeat {
  const claims = beat.claims && { ...beat.claims, seqs: [...beat.claims.seqs], lengthsMs: [...beat.claims.lengthsMs] };
  return { ...beat, claims, parts: [] };
}

function mergeClaims(entry: PendingBeat, beat: PendingBeat): void {
  const { claims } = entry;
  if (claims !== null && beat.claims !== null) {
    const lengthMs = beat.claims.lengthsMs[0] ?? 0;
    if (beat.lastSession === entry.lastSession) {
      if (beat.lastSeq <= entry.lastSeq) return;
      if (claims.session === beat.lastSession && claims.moreMs === 0) {
        claims.seqs.push(beat.lastSeq);
        claims.lengthsMs.push(lengthMs);
      } else claims.moreMs += lengthMs;
    } else claims.moreMs += lengthMs;
  }
  entry.lastSession = beat.lastSession;
  entry.lastSeq = beat.lastSeq;
}
