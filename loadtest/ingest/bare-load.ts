import { toCourseId, toFileId, toLessonId, toUserId, watchedBy } from "../load/catalogue.ts";
import type { BareRow } from "../peers/bare-batch.ts";

const BATCH = 1000;
const BEAT_MS = 100;

/** What the players do, batch after batch by one client: every user goes on in its file. */
export class BareLoad {
  readonly #write: (rows: BareRow[]) => Promise<void>;
  readonly #users: number;
  readonly #shape: { courses: number; files: number };
  #next = 0;

  constructor(
    write: (rows: BareRow[]) => Promise<void>,
    options: { users: number; shape: { courses: number; files: number } },
  ) {
    this.#write = write;
    this.#users = options.users;
    this.#shape = options.shape;
  }

  /** Resolves with the rows of the measured window, and how long it was. */
  async load({
    warmupSeconds,
    seconds,
  }: {
    warmupSeconds: number;
    seconds: number;
  }): Promise<{ rows: number; seconds: number }> {
    await this.#run(warmupSeconds);
    return await this.#run(seconds);
  }

  async #run(seconds: number): Promise<{ rows: number; seconds: number }> {
    const startedAt = performance.now();
    let rows = 0;
    while (performance.now() - startedAt < seconds * 1000) {
      const batch = this.#nextBatch();
      await this.#write(batch);
      rows += batch.length;
    }
    return { rows, seconds: (performance.now() - startedAt) / 1000 };
  }

  /** Sorted as the server sorts its batches. */
  #nextBatch(): BareRow[] {
    const batch: BareRow[] = [];
    for (let i = 0; i < Math.min(BATCH, this.#users); i++) {
      const turn = this.#next++;
      const user = turn % this.#users;
      const fromMs = Math.floor(turn / this.#users) * BEAT_MS;
      const { course, file } = watchedBy(user, this.#shape);
      batch.push({
        userId: toUserId(user),
        fileId: toFileId(course, file),
        lessonId: toLessonId(course, file),
        courseId: toCourseId(course),
        positionMs: fromMs + BEAT_MS,
        played: [[fromMs, fromMs + BEAT_MS]],
      });
    }
    return batch.sort((a, b) => (a.userId < b.userId ? -1 : 1));
  }
}
