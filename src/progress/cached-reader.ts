import { isLong } from "../protocol/json-slices.ts";
import type { CourseProgress, FileProgress } from "../protocol/progress.ts";
import type { CacheKey, ProgressCache } from "./progress-cache.ts";
import type { ProgressReader } from "./progress-reader.ts";

/*
 * Reads progress from the cache, else from the database, and fills the cache. Users who wrote through this process a moment
 * ago are read from the database. Readers who ask for the same key at the same time share one read, except a reader who was
 * acked a later version than that read can have seen.
 */

/** For so long after a user's write this process does not use the user's cached entries. By then the cache has heard of the write. */
const HEARD_MS = 2000;

/** A reader that must be told of this process's writes. */
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

/**
 * What is cached has a row: then every change is notified. A reset of a course leaves files without a row as they are, and
 * changes what is read of them all the same.
 */
interface Cacheable<T> {
  versionOf: (value: T) => number;
  isNotified: (value: T) => boolean;
}

const FILE: Cacheable<FileProgress> = {
  versionOf: ({ version }) => version,
  isNotified: ({ lastWatched }) => lastWatched !== null,
};
const COURSE: Cacheable<CourseProgress> = { versionOf: versionOfCourse, isNotified: ({ version }) => version > 0 };

export function createCachedReader({ reader, cache, isBehind }: CachedReaderParts): CachedReader {
  const flights = new Map<string, Flight>();
  /** When this process last wrote each user's progress, the oldest first. */
  const writtenAt = new Map<string, number>();

  async function read<T extends object>(
    key: CacheKey,
    minVersion: number,
    source: () => Promise<T>,
    { versionOf, isNotified }: Cacheable<T>,
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
      // To write and to read a long value at once would hold up everybody else.
      if (isNotified(value) && !isLong(value)) void fill(versionOf(value), value); // never rejects
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
      read({ kind: "file", userId, id: fileId }, minVersion, () => reader.readFile(userId, fileId, minVersion), FILE),
    readCourse: (userId, courseId, minVersion = 0) =>
      read(
        { kind: "course", userId, id: courseId },
        minVersion,
        () => reader.readCourse(userId, courseId, minVersion),
        COURSE,
      ),
  };
}

/** The latest version of the course and its files: a file that moved on outdates the entry, even if the sums are the same. */
function versionOfCourse({ version, lessons, files }: CourseProgress): number {
  return [...lessons, ...files].reduce((latest, row) => Math.max(latest, row.version), version);
}
