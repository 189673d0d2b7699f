import { AppError } from "../errors.ts";
import type { FirestoreMirror } from "./firestore-mirror.ts";
import type { MirroredRow } from "./mirrored-row.ts";

/*
 * Progress of a user that the database does not know, for as long as it is not restored. Nothing is written: what is
 * read here is as old as the mirror was behind.
 */

export interface MirrorReader {
  /** One file's progress, or all of a user's; empty where the mirror has none. @throws AppError `unavailable` */
  readFromMirror(userId: string, fileId?: string): Promise<MirroredRow[]>;
}

/** A caller waits so long at the most; the library would try for longer. */
const TIMEOUT_MS = 3000;
const RETRY_MS = 1000;

export function createMirrorReader(mirror: FirestoreMirror, { timeoutMs = TIMEOUT_MS } = {}): MirrorReader {
  async function read(userId: string, fileId: string | undefined): Promise<MirroredRow[]> {
    if (fileId === undefined) return mirror.readUser(userId);
    const row = await mirror.readFile({ userId, fileId });
    return row === null ? [] : [row];
  }

  return {
    async readFromMirror(userId, fileId) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`Firestore took more than ${timeoutMs} ms`)), timeoutMs);
      });
      try {
        return await Promise.race([read(userId, fileId), late]);
      } catch (error) {
        throw new AppError("unavailable", "The mirror is away; try again.", { retryAfterMs: RETRY_MS, cause: error });
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
