/*
 * The port of a cache of progress. A cache may forget any entry at any time. It must never return a version older than
 * the one its caller was acked.
 */

/** Names an entry: one user in one file, or in one course as a whole. */
export interface CacheKey {
  kind: "file" | "course";
  userId: string;
  id: string;
}

export interface CacheAnswer<T> {
  /** The newest cached value of at least `minVersion`; null if there is none, or if the cache cannot be reached. */
  kept: T | null;
  /**
   * Caches a value that was read after this miss, unless a later version is known, or all entries were outdated since.
   * Never throws; resolves when the value is cached or given up.
   */
  fill(version: number, value: T): Promise<void>;
}

export interface CacheChange {
  userId: string;
  fileId: string;
  courseId: string;
  version: number;
}

export interface ProgressCache {
  /** `isCurrent: false` while changes may be missed: then nothing that is kept can be trusted. Never throws. */
  get<T extends object>(key: CacheKey, wanted: { minVersion: number; isCurrent: boolean }): Promise<CacheAnswer<T>>;
  /** These rows have these versions now: older entries are never returned again. Never throws. */
  outdate(changes: readonly CacheChange[]): Promise<void>;
  /**
   * The user was deleted: removes the names of its entries too, of some only after a moment, until when nothing that was read
   * before can come back. Never throws.
   */
  forgetUser(userId: string): Promise<void>;
  /** Changes may have been missed: no present entry is returned again. Never throws. */
  outdateAll(): Promise<void>;
}
