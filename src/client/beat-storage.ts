import type { QueuedBeat } from "./beat-queue.ts";
import { type Clock, toAgeMs, toMomentAgo } from "./clock.ts";

/*
 * Keeps unacked beats over a reload. One record a player, so that tabs do not overwrite each other's; a record
 * whose player has gone is adopted by the next one of the same user. Adopting one whose player still lives is
 * harmless: a beat sent twice changes nothing.
 */

const PREFIX = "playhead:beats:";
/** A living player saves more often than this while it has something to save. */
const ABANDONED_AFTER_MS = 60_000;
const MAX_KEPT_MS = 30 * 24 * 3600 * 1000;

/** Where beats are kept; synchronous, because a closing page waits for nothing. */
export interface BeatStorage {
  keys(): string[];
  get(key: string): string | null;
  set(key: string, text: string): void;
  delete(key: string): void;
}

interface StoredBeat extends Omit<QueuedBeat, "seen"> {
  /** At the time of saving. */
  ageMs: number;
}

interface BeatRecord {
  savedAtMs: number;
  closed: boolean;
  beats: StoredBeat[];
}

/** The page's localStorage; null where there is none, or the browser denies it. */
export function openLocalStorage(): BeatStorage | null {
  try {
    const store = globalThis.localStorage;
    if (!store) return null;
    const probe = `${PREFIX}probe`;
    store.setItem(probe, "");
    store.removeItem(probe);
    return {
      keys: () => Array.from({ length: store.length }, (_, index) => store.key(index) ?? ""),
      get: (key) => store.getItem(key),
      set: (key, text) => store.setItem(key, text),
      delete: (key) => store.removeItem(key),
    };
  } catch {
    return null;
  }
}

/** The kept beats of one player: its user on one server. */
export interface BeatShelf {
  /** @throws what the storage throws, when it is full */
  save(beats: readonly QueuedBeat[], options?: { closed?: boolean }): void;
  /** The beats of players that are gone. They are dropped from storage by `release`, once saved under the new owner. */
  adopt(): { beats: QueuedBeat[]; release: () => void };
}

export function createBeatShelf(
  { storage, clock }: { storage: BeatStorage; clock: Clock },
  { server, userId, sessionId }: { server: string; userId: string; sessionId: string },
): BeatShelf {
  const owner = `${PREFIX}${encodeURIComponent(server)}:${encodeURIComponent(userId)}:`;
  const ownKey = `${owner}${sessionId}`;

  function toRecord(beats: readonly QueuedBeat[], closed: boolean): BeatRecord {
    const stored = beats.map(({ seen, ...beat }) => ({ ...beat, ageMs: toAgeMs(clock, seen) }));
    return { savedAtMs: clock.wallMs(), closed, beats: stored };
  }

  function toBeats(record: BeatRecord): QueuedBeat[] {
    const sinceSavedMs = Math.max(0, clock.wallMs() - record.savedAtMs);
    return record.beats.map(({ ageMs, ...beat }) => ({ ...beat, seen: toMomentAgo(clock, ageMs + sinceSavedMs) }));
  }

  return {
    save(beats, { closed = false } = {}) {
      if (beats.length === 0) storage.delete(ownKey);
      else storage.set(ownKey, JSON.stringify(toRecord(beats, closed)));
    },
    adopt() {
      const taken: { key: string; record: BeatRecord }[] = [];
      for (const key of storage.keys()) {
        if (!key.startsWith(PREFIX) || key === ownKey) continue;
        const record = parseRecord(storage.get(key));
        const sinceSavedMs = record ? clock.wallMs() - record.savedAtMs : Number.POSITIVE_INFINITY;
        if (key.startsWith(owner) && record) {
          // A date in the future is a clock that was set back: its player cannot be told to be alive.
          if (record.closed || sinceSavedMs > ABANDONED_AFTER_MS || sinceSavedMs < 0) taken.push({ key, record });
        } else if (sinceSavedMs > MAX_KEPT_MS) storage.delete(key);
      }
      taken.sort((a, b) => a.record.savedAtMs - b.record.savedAtMs);
      return {
        beats: taken.flatMap(({ record }) => toBeats(record)),
        release: () => {
          for (const { key } of taken) storage.delete(key);
        },
      };
    },
  };
}

/** Null for what is no record of ours: another version's, or damaged. */
function parseRecord(text: string | null): BeatRecord | null {
  try {
    const record = JSON.parse(text ?? "null") as BeatRecord | null;
    if (!record || !Number.isFinite(record.savedAtMs) || !Array.isArray(record.beats)) return null;
    return { ...record, beats: record.beats.filter(isStoredBeat) };
  } catch {
    return null;
  }
}

function isStoredBeat(beat: StoredBeat | null): beat is StoredBeat {
  return (
    typeof beat?.fileId === "string" &&
    typeof beat.sessionId === "string" &&
    [beat.seq, beat.positionMs, beat.rate, beat.ageMs].every(Number.isFinite) &&
    Array.isArray(beat.played)
  );
}
