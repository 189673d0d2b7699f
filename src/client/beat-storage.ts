import type { QueuedBeat } from "./beat-queue.ts";
import { type Clock, toAgeMs, toMoment } from "./clock.ts";

/*
 * Keeps unacked beats over a reload of the page. Every player has a record of its own, so that tabs do not overwrite each
 * other's. When a player is gone, the next player of the same user adopts its record. To adopt the record of a living
 * player does no harm: a beat that is sent twice changes nothing.
 */

const PREFIX = "playhead:beats:";
/** A living player that has something to save saves more often than this. */
const ABANDONED_AFTER_MS = 60_000;
const MAX_KEPT_MS = 30 * 24 * 3600 * 1000;

/** Where beats are kept. It is synchronous because a closing page waits for nothing. */
export interface BeatStorage {
  keys(): string[];
  get(key: string): string | null;
  set(key: string, text: string): void;
  delete(key: string): void;
}

interface StoredBeat extends Omit<QueuedBeat, "seen"> {
  /** The age at the time of saving. */
  ageMs: number;
}

interface BeatRecord {
  savedAtMs: number;
  closed: boolean;
  beats: StoredBeat[];
}

/** The page's localStorage; null where there is none or the browser denies it. */
export function openLocalStorage(): BeatStorage | null {
  try {
    const store = globalThis.localStorage;
    if (!store) return null;
    return {
      keys: () => Object.keys(store),
      get: (key) => store.getItem(key),
      set: (key, text) => store.setItem(key, text),
      delete: (key) => store.removeItem(key),
    };
  } catch {
    return null;
  }
}

/** The kept beats of one player of one user on one server. */
export interface BeatShelf {
  /** @throws the storage's error, when the storage is full */
  save(beats: readonly QueuedBeat[], options?: { closed?: boolean }): void;
  /** Takes over the beats of players that are gone. Save them first, then `release` drops the old records. */
  adopt(): { beats: QueuedBeat[]; release: () => void };
}

export function createBeatShelf(
  { storage, clock }: { storage: BeatStorage; clock: Clock },
  { server, userId, sessionId }: { server: string; userId: string; sessionId: string },
): BeatShelf {
  const owner = `${PREFIX}${encodeURIComponent(server)}:${encodeURIComponent(userId)}:`;
  const ownKey = `${owner}${sessionId}`;

  function toBeats({ savedAtMs, beats }: BeatRecord): QueuedBeat[] {
    const sinceSavedMs = Math.max(0, clock.wallMs() - savedAtMs);
    return beats.map(({ ageMs, ...beat }) => ({ ...beat, seen: toMoment(clock, ageMs + sinceSavedMs) }));
  }

  return {
    save(beats, { closed = false } = {}) {
      if (beats.length === 0) return storage.delete(ownKey);
      const stored = beats.map(({ seen, ...beat }) => ({ ...beat, ageMs: toAgeMs(clock, seen) }));
      const record: BeatRecord = { savedAtMs: clock.wallMs(), closed, beats: stored };
      storage.set(ownKey, JSON.stringify(record));
    },
    adopt() {
      const taken: { key: string; record: BeatRecord }[] = [];
      for (const key of storage.keys()) {
        if (!key.startsWith(PREFIX) || key === ownKey) continue;
        const record = parseRecord(storage.get(key));
        const sinceSavedMs = clock.wallMs() - (record?.savedAtMs ?? 0);
        if (record && key.startsWith(owner)) {
          // A date in the future means that the wall clock was set back. Nothing tells then whether the player lives.
          if (record.closed || sinceSavedMs > ABANDONED_AFTER_MS || sinceSavedMs < 0) taken.push({ key, record });
        } else if (!record || sinceSavedMs > MAX_KEPT_MS) storage.delete(key);
      }
      taken.sort((a, b) => a.record.savedAtMs - b.record.savedAtMs);
      return {
        beats: taken.flatMap(({ record }) => toBeats(record)),
        release() {
          for (const { key } of taken) storage.delete(key);
        },
      };
    },
  };
}

/** Null for a damaged record, and for one of another version of the SDK. */
function parseRecord(text: string | null): BeatRecord | null {
  try {
    const { savedAtMs, closed, beats } = JSON.parse(text as string) as BeatRecord;
    // The server refuses a beat that is damaged otherwise.
    return { savedAtMs: +savedAtMs, closed, beats: beats.filter((beat) => Array.isArray(beat?.played)) };
  } catch {
    return null;
  }
}
