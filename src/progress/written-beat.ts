import type { FileFacts } from "../catalogue/catalogue.ts";
import { type BriefAck, RESUME_BACK_MS } from "../protocol/brief-ack.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { isCovered } from "../protocol/ranges.ts";
import type { RowChange, StoredRow } from "./merge-beat.ts";
import type { PendingBeat } from "./pending-beat.ts";
import { resumeAtMs, shownPositionMs, toShownRanges, toWireProgress } from "./progress-rows.ts";

/** What the writer made of an entry of the buffer. */
export interface Merge {
  /** The row after the entry. */
  row: StoredRow;
  file: FileFacts;
  /** Null where the row stayed as it was. */
  change: RowChange | null;
  /** A reset came after the beat was observed: it is acked and has no effect. */
  dropped: boolean;
  /** The row has as many ranges as a row may have, and gave up its shortest one. */
  hasGivenUp: boolean;
}

/**
 * An entry after COMMIT. It makes the answers to its senders on demand: for a brief one the whole progress is never
 * built.
 */
export class WrittenBeat {
  readonly type = "written";
  readonly dropped: boolean;
  readonly hasGivenUp: boolean;
  readonly #beat: PendingBeat;
  readonly #row: StoredRow;
  readonly #file: FileFacts;
  readonly #change: RowChange | null;
  #progress: FileProgress | null = null;

  constructor(beat: PendingBeat, { row, file, change, dropped, hasGivenUp }: Merge) {
    this.dropped = dropped;
    this.hasGivenUp = hasGivenUp;
    this.#beat = beat;
    this.#row = row;
    this.#file = file;
    this.#change = change;
  }

  /** The version of the row. */
  get version(): number {
    return this.#row.version;
  }

  get progress(): FileProgress {
    this.#progress ??= toProgress(this.#beat, this.#row, this.#file);
    return this.#progress;
  }

  /**
   * The brief answer to one sender.
   * @param sender.held the version of the progress that the sender holds; 0 where it is not known
   * @param sender.sent the sender's own beat; null where the server credited less than the sender claimed
   * @returns null where the sender cannot derive the progress from what it holds and sent
   */
  toBrief({ held, sent }: { held: number; sent: PendingBeat | null }, nextBeatMs: number): BriefAck | null {
    const { version, positionMs, lastWatchedUs } = this.#row;
    const { durationMs, endMs } = this.#file;
    const place = { positionMs, durationMs, endMs };
    const resumeMs = resumeAtMs(place);
    const resumeAt = resumeMs === shownPositionMs(place) - RESUME_BACK_MS ? undefined : resumeMs / 1000;
    if (version === held) return { version, resumeAt, nextBeatMs };
    const old = this.#change?.old;
    if (old?.version !== held || sent !== this.#beat || !isDerived(sent, old, this.#row)) return null;
    if (this.#change?.hasClosedEnd || this.hasGivenUp || this.#goesPastTheEnd()) return null;
    return {
      version,
      base: held,
      laterMs: toWireMs(lastWatchedUs) - toWireMs(old.lastWatchedUs),
      resumeAt,
      nextBeatMs,
    };
  }

  /** The receiver of such a row does not know what it holds past the duration, and what may join with that. */
  #goesPastTheEnd(): boolean {
    const { durationMs } = this.#file;
    return durationMs !== null && Math.max(this.#row.positionMs, this.#row.watched.at(-1)?.[1] ?? 0) > durationMs;
  }
}

/**
 * Whether `applyBriefAck` makes the next row of the old one and of the beat alone: the position was taken, all that was
 * played counts, and nothing else changed. A change of the file's duration or place needs no look: the catalogue then
 * gives the row a new version.
 */
function isDerived(beat: PendingBeat, old: StoredRow, next: StoredRow): boolean {
  const spentMs = beat.claims === null ? next.watchedMs - old.watchedMs : beat.claims.lengthsMs[0];
  return (
    beat.parts.length === 0 &&
    old.lastWatchedUs !== null &&
    next.positionMs === beat.position.positionMs &&
    next.watchTimeMs - old.watchTimeMs === spentMs &&
    next.completed === old.completed &&
    isCovered(next.watched, beat.played)
  );
}

/** The milliseconds that an ISO date of the wire tells. */
function toWireMs(us: number | null): number {
  return Math.floor((us ?? 0) / 1000);
}

function toProgress({ userId, fileId, courseId }: PendingBeat, row: StoredRow, file: FileFacts): FileProgress {
  return toWireProgress(
    {
      userId,
      fileId,
      courseId,
      lessonId: file.lessonId,
      durationMs: file.durationMs,
      endMs: file.endMs,
      positionMs: row.positionMs,
      watchedMs: row.watchedMs,
      watchTimeMs: row.watchTimeMs,
      completed: row.completed,
      lastWatchedMs: row.lastWatchedUs === null ? null : row.lastWatchedUs / 1000,
      epoch: row.epoch,
      version: row.version,
    },
    toShownRanges(row.watched, file.durationMs),
  );
}
