import type { PlayerState } from "../../protocol/heartbeat.ts";
import type { PresenceReport } from "../bus/bus.ts";

/** A player that is there, as it last reported. Changed in place, because most heartbeats are never shown. */
export interface Viewer {
  readonly courseId: string;
  readonly userId: string;
  readonly fileId: string;
  lessonId: string;
  position: number;
  state: PlayerState;
  rate: number;
  /** When the position was seen, by the monotonic clock. */
  seenAt: number;
  leaseUntil: number;
  /** Whether its player is connected to this process. */
  isLocal: boolean;
  /** Another file of the same course that the same user plays; almost always null. */
  next: Viewer | null;
}

/** The viewers of one course. Looked up by the user, so that a heartbeat needs no key of user and file. */
export class CourseViewers {
  readonly #byUser = new Map<string, Viewer>();
  readonly #countByLesson = new Map<string, number>();
  readonly #countByFile = new Map<string, number>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  find(userId: string, fileId: string): Viewer | null {
    let viewer = this.#byUser.get(userId) ?? null;
    while (viewer !== null && viewer.fileId !== fileId) viewer = viewer.next;
    return viewer;
  }

  add(report: PresenceReport): Viewer {
    const { courseId, userId, fileId, lessonId, position, state, rate } = report;
    const viewer: Viewer = {
      courseId,
      userId,
      fileId,
      lessonId,
      position,
      state,
      rate,
      seenAt: 0,
      leaseUntil: 0,
      isLocal: false,
      next: this.#byUser.get(userId) ?? null,
    };
    this.#byUser.set(userId, viewer);
    this.#count(viewer, 1);
    return viewer;
  }

  delete(gone: Viewer): void {
    const { userId, next } = gone;
    let before = this.#byUser.get(userId) ?? null;
    if (before !== gone) {
      while (before !== null && before.next !== gone) before = before.next;
      if (before === null) return;
      before.next = next;
    } else if (next !== null) this.#byUser.set(userId, next);
    else this.#byUser.delete(userId);
    this.#count(gone, -1);
  }

  /** The file belongs to another lesson now. */
  moveToLesson(viewer: Viewer, lessonId: string): void {
    this.#count(viewer, -1);
    viewer.lessonId = lessonId;
    this.#count(viewer, 1);
  }

  /** Forgets viewers whose lease has ended. @returns these viewers */
  takeExpired(now: number): Viewer[] {
    const gone: Viewer[] = [];
    // Plain loops: this goes over every viewer every second.
    for (const first of this.#byUser.values())
      for (let viewer: Viewer | null = first; viewer !== null; viewer = viewer.next)
        if (viewer.leaseUntil <= now) gone.push(viewer);
    for (const viewer of gone) this.delete(viewer);
    return gone;
  }

  countOfLesson(lessonId: string): number {
    return this.#countByLesson.get(lessonId) ?? 0;
  }

  countOfFile(fileId: string): number {
    return this.#countByFile.get(fileId) ?? 0;
  }

  *all(): Iterable<Viewer> {
    for (const userId of this.#byUser.keys()) yield* this.ofUser(userId);
  }

  *ofUser(userId: string): Iterable<Viewer> {
    for (let viewer = this.#byUser.get(userId) ?? null; viewer !== null; viewer = viewer.next) yield viewer;
  }

  #count({ lessonId, fileId }: Viewer, by: 1 | -1): void {
    this.#size += by;
    tally(this.#countByLesson, lessonId, by);
    tally(this.#countByFile, fileId, by);
  }
}

function tally(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
