/*
 * What was read of progress, kept for the next reader. A cache may forget anything at any time; it may never give
 * back less than what its caller was acked.
 */

/** Names what is cached: one user in one file, or in one course as a whole. */
export interface CacheKey {
  kind: "file" | "course";
  userId: string;
  id: string;
}

export interface CacheAnswer<T> {
  /** The newest that is kept, of `minVersion` at least; null where there is none, or the cache is away. */
  kept: T | null;
  /**
   * Keeps what was read after this answer came, unless a later version is known, or everything was outdated since.
   * Never throws; resolves when it is kept or given up.
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
  /** These rows have these versions by now: what is older is given to nobody. Never throws. */
  outdate(changes: readonly CacheChange[]): Promise<void>;
  /** Changes may have been missed: nothing that is kept now is given to anybody. Never throws. */
  outdateAll(): Promise<void>;
}
