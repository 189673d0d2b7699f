import { applyBriefAck, type BriefAck } from "../protocol/brief-ack.ts";
import type { FileProgress, Heartbeat } from "../protocol/wire.ts";

/** How a player learned of a progress: it asked, its own beat was acked, or another device of the user moved on. */
export type ProgressSource = "read" | "acked" | "remote";

/**
 * The progress of one file as a player holds it. Messages overtake each other, so the highest version wins.
 */
export interface HeldProgress {
  /** Null until the first progress came. */
  readonly current: FileProgress | null;
  /** The highest version that the player has heard of. It may not hold that one yet. */
  readonly newestVersion: number;
  /** Takes a whole progress, unless it came late or belongs to another file. */
  take(fresh: FileProgress, source: ProgressSource): void;
  /**
   * Takes what a brief ack says of the progress.
   * @returns false where the player does not hold the version that the ack builds on, and has to read the progress
   */
  takeBrief(ack: BriefAck, beat: Heartbeat): boolean;
}

export function createHeldProgress(
  fileId: string,
  onTaken: (progress: FileProgress, source: ProgressSource) => void,
): HeldProgress {
  let current: FileProgress | null = null;
  let newestVersion = 0;

  function take(fresh: FileProgress, source: ProgressSource): void {
    if (fresh.fileId !== fileId || (current && fresh.version < current.version)) return;
    current = fresh;
    newestVersion = Math.max(newestVersion, fresh.version);
    onTaken(fresh, source);
  }

  return {
    get current() {
      return current;
    },
    get newestVersion() {
      return newestVersion;
    },
    take,
    takeBrief(ack, beat) {
      if (beat.fileId !== fileId || (current && ack.version < current.version)) return true;
      const fresh = current && applyBriefAck(current, beat, ack);
      if (fresh) take(fresh, "acked");
      const isMissing = !fresh && ack.version > newestVersion;
      newestVersion = Math.max(newestVersion, ack.version);
      return !isMissing;
    },
  };
}
