import type { CatalogueFile, StoredRow } from "./merge-beat.ts";
import { RecentMap } from "./recent-map.ts";

/*
 * Rows as this process wrote or read them last, and what the catalogue said of their files: so that a player's next
 * heartbeat is decided without reading anything. Nothing here is believed: whatever is written on the strength of it is
 * written only where the database still has the same versions.
 */

/** At about half a KB a row and twice as many rows at the most: about 60 MB. */
const MAX_ROWS = 64_000;
const MAX_FILES = 20_000;
const MAX_COURSES = 10_000;
const MAX_SHARED_USERS = 10_000;
/** A user whom another process writes too is looked up every time for so long. */
const SHARED_MS = 10 * 60 * 1000;

export class RowMemory {
  readonly #rows = new RecentMap<string, StoredRow>(MAX_ROWS);
  readonly #files = new RecentMap<string, CatalogueFile>(MAX_FILES);
  /** By course the version of the catalogue that was read last. */
  readonly #catalogues = new RecentMap<string, number>(MAX_COURSES);
  readonly #sharedUntil = new RecentMap<string, number>(MAX_SHARED_USERS);

  row(key: string): StoredRow | undefined {
    return this.#rows.get(key);
  }

  /** After COMMIT. */
  setRow(userId: string, key: string, row: StoredRow): void {
    const sharedUntil = this.#sharedUntil.get(userId);
    if (sharedUntil === undefined || performance.now() > sharedUntil) this.#rows.set(key, row);
  }

  forgetRow(key: string): void {
    this.#rows.delete(key);
  }

  /** Somebody else wrote the row since: a process that the user's other device is connected to, or an operation. */
  setShared(userId: string): void {
    this.#sharedUntil.set(userId, performance.now() + SHARED_MS);
  }

  /** Of the catalogue that was read of its course last: a file read of an earlier one is not told. */
  file(fileId: string): CatalogueFile | undefined {
    const file = this.#files.get(fileId);
    return file !== undefined && this.#catalogues.get(file.courseId) === file.catalogueVersion ? file : undefined;
  }

  setFile(file: CatalogueFile): void {
    this.#files.set(file.fileId, file);
    this.#catalogues.set(file.courseId, file.catalogueVersion);
  }

  forgetFile(fileId: string): void {
    this.#files.delete(fileId);
  }
}
