import type { CourseProgress } from "../protocol/progress.ts";
import type { CacheKey, ProgressCache } from "./progress-cache.ts";
import type { ProgressReader } from "./progress-reader.ts";

/*
 * Reads try the cache first and fill it with what they had to read. Whoever wrote here lately reads from the source. Readers of the same thing at the same time share
 * one read, unless one of them was acked something later than that read began with.
 */

/** For so long after a write of a user's nothing that is cached of it is read here: by then the cache has heard of it. */
const HEARD_MS = 2000;

/** A reader, and who has to tell it of writes that this process made. */
export interface CachedReader extends ProgressReader {
  wrote(userId: string): void;
}

interface Flight {
  minVersion: number;
  reading: Promise<unknown>;
}

export interface CachedReaderParts {
  reader: ProgressReader;
  cache: ProgressCache;
  /** Whether changes may be missed now: then nothing is read from the cache. */
  isBehind: () => boolean;
}

export function createCachedReader({ reader, cache, isBehind }: CachedReaderParts): CachedReader {
  const flights = new Map<string, Flight>();
  /** When each user's progress was last written, the oldest first. */
  const writtenAt = new Map<string, number>();

  async function read<T extends object>(
    key: CacheKey,
    minVersion: number,
    source: () => Promise<T>,
    versionOf: (value: T) => number,
  ): Promise<T> {
    const name = `${key.kind}\u0000${key.userId}\u0000${key.id}`;
    const hasWritten = performance.now() - (writtenAt.get(key.userId) ?? Number.NEGATIVE_INFINITY) < HEARD_MS;
    if (hasWritten) return source();
    const flight = flights.get(name);
    if (flight !== undefined && flight.minVersion >= minVersion) return flight.reading as Promise<T>;
    const reading = (async () => {
      const { kept, fill } = await cache.get<T>(key, { minVersion, isCurrent: !isBehind() });
      if (kept !== null) return kept;
      const value = await source();
      void fill(versionOf(value), value); // never rejects
      return value;
    })();
    flights.set(name, { minVersion, reading });
    try {
      return await reading;
    } finally {
      if (flights.get(name)?.reading === reading) flights.delete(name);
    }
  }

  return {
    ...reader,
    wrote(userId) {
      const now = performance.now();
      writtenAt.delete(userId);
      writtenAt.set(userId, now);
      for (const [oldest, at] of writtenAt) {
        if (now - at < HEARD_MS) break;
        writtenAt.delete(oldest);
      }
    },
    readFile: (userId, fileId, minVersion = 0) =>
      read(
        { kind: "file", userId, id: fileId },
        minVersion,
        () => reader.readFile(userId, fileId, minVersion),
        (file) => file.version,
      ),
    readCourse: (userId, courseId, minVersion = 0) =>
      read(
        { kind: "course", userId, id: courseId },
        minVersion,
        () => reader.readCourse(userId, courseId, minVersion),
        versionOfCourse,
      ),
  };
}

/** The latest of all that it is made of: a file that moved on outdates it, though its sums may be the same. */
function versionOfCourse({ version, lessons, files }: CourseProgress): number {
  return [...lessons, ...files].reduce((latest, row) => Math.max(latest, row.version), version);
}
