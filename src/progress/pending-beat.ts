import { lengthOf, type Range, unionOf } from "../protocol/ranges.ts";

/*
 * A heartbeat that waits for the database: one entry for each user, file and epoch. Later heartbeats of the same key are
 * merged into the entry, by the same rules as the entry is merged into its row. So the order of arrival changes nothing.
 */

/**
 * Where a player was, and when. Of two positions of one session the one with the higher seq stays, whatever the network
 * did to the times of the two; it takes the later of both times. Of two sessions the one seen later stays.
 */
export interface ObservedPosition {
  positionMs: number;
  /** The process's monotonic clock minus the age of the beat. */
  observedAtMs: number;
  session: string;
  /** -1 if the player does not number its beats. */
  seq: number;
}

export interface PendingBeat {
  userId: string;
  fileId: string;
  courseId: string;
  epoch: number | null;
  position: ObservedPosition;
  /** The position of each session whose beats were merged; null in a single beat. */
  places: Map<string, ObservedPosition> | null;
  /** The union of the played ranges. */
  played: Range[];
  /**
   * Watch time grows once for each (session, seq). `session`, `seqs` and `lengthsMs` are the first beats of one session:
   * `mergeBeat` compares them with the row's last writer. `moreMs` is the time of all other sessions, which always counts.
   * Null for beats without a number: their watch time grows as much as the union.
   */
  claims: { session: string; seqs: number[]; lengthsMs: number[]; moreMs: number } | null;
  lastSession: string;
  lastSeq: number;
  /** Progress that a legacy client reported about itself, in hundredths of a percent. */
  reportedBp: number;
  reportedDone: boolean;
  /** When the oldest of the merged beats was observed. */
  oldestAtMs: number;
  /** The beats that were merged into this one, because a reset may lie between them. Empty in a single beat. */
  parts: PendingBeat[];
}

/** A validated heartbeat. Its played ranges are within the user's budget. */
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
    places: null,
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
 * Beats with the same key are merged. U+0000, which no id contains, separates the parts of a key. Beats with and without
 * a number earn watch time by different rules, so they have different keys.
 */
export function keyOf(beat: PendingBeat): string {
  return `${rowKeyOf(beat)}\u0000${beat.epoch ?? ""}${beat.claims === null ? "u" : "n"}`;
}

/** Names the row that the beat writes to. Two beats of one row never go into one batch. */
export function rowKeyOf(beat: { userId: string; fileId: string }): string {
  return `${beat.userId}\u0000${beat.fileId}`;
}

/** The user of a row that `rowKeyOf` named. */
export function userOfRow(key: string): string {
  return key.slice(0, key.indexOf("\u0000"));
}

/** The position that stays of two. */
export function laterOf(a: ObservedPosition, b: ObservedPosition): ObservedPosition {
  if (a.session === b.session && a.seq >= 0 && b.seq >= 0 && a.seq !== b.seq) {
    const [later, earlier] = a.seq > b.seq ? [a, b] : [b, a];
    if (later.observedAtMs >= earlier.observedAtMs) return later;
    return { ...later, observedAtMs: earlier.observedAtMs };
  }
  if (a.observedAtMs !== b.observedAtMs) return a.observedAtMs > b.observedAtMs ? a : b;
  if (a.session !== b.session) return compareBytes(a.session, b.session) > 0 ? a : b;
  return a.seq > b.seq ? a : b;
}

/**
 * Orders texts by their UTF-8 bytes, that is by code points, as PostgreSQL's collation "C" does. JavaScript's own order
 * differs past U+FFFF. Both texts must be well-formed.
 */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const [unitA, unitB] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (unitA !== unitB) return rankOf(unitA) - rankOf(unitB);
  }
  return a.length - b.length;
}

/** A surrogate is half of a code point past U+FFFF, so it comes after all other units. */
function rankOf(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** Merges a beat into a waiting entry of the same key. */
export function mergeInto(entry: PendingBeat, beat: PendingBeat): void {
  if (entry.parts.length === 0) entry.parts.push(copyOf(entry));
  entry.parts.push(beat);
  entry.oldestAtMs = Math.min(entry.oldestAtMs, beat.oldestAtMs);
  mergePosition(entry, beat.position);
  if (beat.played.length > 0) entry.played = unionOf([...entry.played, ...beat.played]);
  entry.reportedBp = Math.max(entry.reportedBp, beat.reportedBp);
  entry.reportedDone ||= beat.reportedDone;
  mergeClaims(entry, beat);
}

/** The latest times of two sessions are compared, so each session is merged by itself first. */
function mergePosition(entry: PendingBeat, position: ObservedPosition): void {
  entry.places ??= new Map([[entry.position.session, entry.position]]);
  const before = entry.places.get(position.session);
  const now = before === undefined ? position : laterOf(before, position);
  entry.places.set(position.session, now);
  entry.position = entry.position.session === now.session ? now : laterOf(entry.position, now);
}

/** A copy of a single beat, made before another beat is merged into it. */
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
