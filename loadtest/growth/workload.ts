import { toCourseId, toFileId, toUserId } from "../load/catalogue.ts";
import type { WriterRow } from "../writer/server-writer.ts";
import { COURSES, FILES_A_COURSE, FILES_A_USER, FILLED_MS } from "./fill.ts";

export type WorkloadName = "active" | "uniform";

/**
 * Makes batches of heartbeats, each of another user, who plays the next 10 s of a file. `uniform`: any user and any of the
 * user's files, so hardly a page is touched twice. `active`: one user in a hundred, spread over the whole table, always
 * in the same file; at least as many users as a batch has.
 */
export class Workload {
  readonly #users: number;
  readonly #batchSize: number;
  readonly #beats = new Map<number, number>();

  constructor({ users, batchSize }: { users: number; batchSize: number }) {
    this.#users = users;
    this.#batchSize = Math.min(batchSize, users);
  }

  activeUsers(): number {
    return Math.max(this.#batchSize, Math.floor(this.#users / 100));
  }

  *everyActive(): Generator<WriterRow[]> {
    const active = this.activeUsers();
    for (let from = 0; from < active; from += this.#batchSize) {
      const count = Math.min(this.#batchSize, active - from);
      yield Array.from({ length: count }, (_, i) => this.#beat(this.#activeUser(from + i), 0));
    }
  }

  next(name: WorkloadName): WriterRow[] {
    const chosen = new Set<number>();
    while (chosen.size < this.#batchSize) chosen.add(this.#draw(name));
    return [...chosen].map((user) => this.#beat(user, name === "active" ? 0 : drawBelow(FILES_A_USER)));
  }

  #draw(name: WorkloadName): number {
    return name === "active" ? this.#activeUser(drawBelow(this.activeUsers())) : drawBelow(this.#users);
  }

  #activeUser(index: number): number {
    return index * Math.floor(this.#users / this.activeUsers());
  }

  #beat(user: number, k: number): WriterRow {
    const key = user * FILES_A_USER + k;
    const beat = (this.#beats.get(key) ?? 0) + 1;
    this.#beats.set(key, beat);
    return rowOf(user, k, beat);
  }
}

/** The same row as FILL in fill.ts. */
function rowOf(user: number, k: number, beat: number): WriterRow {
  const course = user % COURSES;
  const file = (Math.floor(user / COURSES) + k) % FILES_A_COURSE;
  return {
    userId: toUserId(user),
    fileId: toFileId(course, file),
    courseId: toCourseId(course),
    positionMs: (beat + 1) * FILLED_MS,
    played: [[beat * FILLED_MS, (beat + 1) * FILLED_MS]],
    session: `session-of-${user}-in-${file}`,
    seq: beat,
  };
}

function drawBelow(count: number): number {
  return Math.floor(Math.random() * count);
}
