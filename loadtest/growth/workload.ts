import { DURATION_SECONDS, toCourseId, toFileId, toLessonId, toUserId } from "../load/catalogue.ts";
import type { BenchRow } from "../writer/writer-rows.ts";
import { COURSES, FILES_A_COURSE, FILES_A_USER, FILLED_MS } from "./fill.ts";

export type WorkloadName = "active" | "uniform";

export interface CourseRow extends BenchRow {
  courseId: string;
}

const MOST_BEATS = Math.floor((DURATION_SECONDS * 1000 * 0.8) / FILLED_MS);

/**
 * Batches of distinct users, each with a heartbeat that plays the next 10 s of a file. `uniform`: any user with any of
 * their files, so that hardly a page is met twice. `active`: one user in a hundred, spread over the whole table, each
 * in one file; no fewer than a batch has.
 */
export class Workload {
  readonly #users: number;
  readonly #batchSize: number;
  readonly #beats = new Map<number, number>();
  readonly #random: () => number;

  constructor({ users, batchSize, seed }: { users: number; batchSize: number; seed: number }) {
    this.#users = users;
    this.#batchSize = Math.min(batchSize, users);
    this.#random = mulberry32(seed);
  }

  activeUsers(): number {
    return Math.max(this.#batchSize, Math.floor(this.#users / 100));
  }

  /** Every active user once. */
  *everyActive(): Generator<CourseRow[]> {
    const active = this.activeUsers();
    const step = Math.floor(this.#users / active);
    for (let from = 0; from < active; from += this.#batchSize) {
      const count = Math.min(this.#batchSize, active - from);
      yield Array.from({ length: count }, (_, i) => this.#beat((from + i) * step, 0));
    }
  }

  /** Users by number: half of them active, half drawn from all. */
  sample(count: number): number[] {
    const active = this.activeUsers();
    const step = Math.floor(this.#users / active);
    return Array.from({ length: count }, (_, i) =>
      i % 2 === 0 ? Math.floor(this.#random() * active) * step : Math.floor(this.#random() * this.#users),
    );
  }

  next(name: WorkloadName): CourseRow[] {
    const active = this.activeUsers();
    const step = Math.floor(this.#users / active);
    const chosen = new Set<number>();
    while (chosen.size < this.#batchSize) {
      chosen.add(
        name === "uniform" ? Math.floor(this.#random() * this.#users) : Math.floor(this.#random() * active) * step,
      );
    }
    return [...chosen].map((user) =>
      this.#beat(user, name === "uniform" ? Math.floor(this.#random() * FILES_A_USER) : 0),
    );
  }

  #beat(user: number, k: number): CourseRow {
    const key = user * FILES_A_USER + k;
    const beat = ((this.#beats.get(key) ?? 0) % MOST_BEATS) + 1;
    this.#beats.set(key, beat);
    return rowOf(user, k, beat);
  }
}

/** As FILL of fill.ts makes them. */
function rowOf(user: number, k: number, beat: number): CourseRow {
  const course = user % COURSES;
  const file = (Math.floor(user / COURSES) + k) % FILES_A_COURSE;
  return {
    userId: toUserId(user),
    fileId: toFileId(course, file),
    lessonId: toLessonId(course, file),
    courseId: toCourseId(course),
    positionMs: (beat + 1) * FILLED_MS,
    played: [[beat * FILLED_MS, (beat + 1) * FILLED_MS]],
    session: `session-of-${user}-in-${file}`,
    seq: beat,
  };
}

/** Tommy Ettinger's mulberry32: the same users in every run. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
