import type { Present, Topic } from "../protocol/dashboard.ts";
import type { PresenceReport } from "./bus.ts";

/*
 * Who is there now. A lease, renewed by every heartbeat: when it ends the viewer is gone, at the last reported
 * position. Never stored, nothing extrapolated.
 */

interface Viewer {
  report: PresenceReport;
  reportedAt: number;
  leaseUntil: number;
  /** Its player is connected to this process. */
  isLocal: boolean;
  /** The same user at another file of the course: hardly ever. */
  next: Viewer | null;
}

/** Of one course. Every heartbeat looks here: by the user, without a key of both that would be made each time. */
class CourseViewers {
  readonly users = new Map<string, Viewer>();
  size = 0;
  readonly byLesson = new Map<string, number>();
  readonly byFile = new Map<string, number>();

  find({ userId, fileId }: PresenceReport): Viewer | null {
    let viewer = this.users.get(userId) ?? null;
    while (viewer !== null && viewer.report.fileId !== fileId) viewer = viewer.next;
    return viewer;
  }

  add(viewer: Viewer): void {
    const { userId } = viewer.report;
    viewer.next = this.users.get(userId) ?? null;
    this.users.set(userId, viewer);
    this.count(viewer.report, 1);
  }

  delete(gone: Viewer): void {
    const { userId } = gone.report;
    const first = this.users.get(userId);
    if (first === undefined) return;
    if (first === gone && gone.next === null) this.users.delete(userId);
    else if (first === gone) this.users.set(userId, gone.next as Viewer);
    else {
      let viewer = first;
      while (viewer.next !== null && viewer.next !== gone) viewer = viewer.next;
      viewer.next = gone.next;
    }
    this.count(gone.report, -1);
  }

  count({ lessonId, fileId }: PresenceReport, by: 1 | -1): void {
    this.size += by;
    tally(this.byLesson, lessonId, by);
    tally(this.byFile, fileId, by);
  }

  *all(): Iterable<Viewer> {
    for (const first of this.users.values()) yield* chainOf(first);
  }
}

/** Who left: its lease ended. */
export type OnGone = (report: PresenceReport) => void;

const SWEEP_MS = 1000;

export class Presence {
  readonly #courses = new Map<string, CourseViewers>();
  readonly #onGone: OnGone;
  #sweep: NodeJS.Timeout | null = null;

  constructor(onGone: OnGone) {
    this.#onGone = onGone;
  }

  start(): void {
    this.#sweep = setInterval(() => this.#expire(performance.now()), SWEEP_MS).unref();
  }

  stop(): void {
    if (this.#sweep !== null) clearInterval(this.#sweep);
  }

  /**
   * Takes a report. A paused player repeats where it stopped, and the network makes it look a little older now and
   * then: it is still there. @returns false where a newer position is known already
   */
  apply(report: PresenceReport, { isLocal }: { isLocal: boolean }): boolean {
    const now = performance.now();
    const viewers = this.#open(report.courseId);
    const known = viewers.find(report);
    const leaseUntil = now + report.leaseMs;
    if (known === null) {
      viewers.add({ report, reportedAt: now, leaseUntil, isLocal, next: null });
      return true;
    }
    // A process hears its own reports again, by the bus.
    if (known.report === report) return true;
    if (known.leaseUntil > now && known.reportedAt - known.report.ageMs > now - report.ageMs) {
      // An older one of another device may not keep alive the device that has left.
      if (known.report.position !== report.position || known.report.state !== report.state) return false;
      known.leaseUntil = Math.max(known.leaseUntil, leaseUntil);
      return true; // other nodes have to hear of it
    }
    if (known.report.lessonId !== report.lessonId) {
      viewers.count(known.report, -1);
      viewers.count(report, 1);
    }
    known.report = report;
    known.reportedAt = now;
    known.leaseUntil = leaseUntil;
    known.isLocal = isLocal;
    return true;
  }

  /** Who is connected here, as another process has to hear it now. */
  localReports(matches: (report: PresenceReport) => boolean): PresenceReport[] {
    const now = performance.now();
    return [...this.#courses.values()]
      .flatMap((viewers) => [...viewers.all()])
      .filter(({ isLocal, report, leaseUntil }) => isLocal && leaseUntil > now && matches(report))
      .map(({ report, reportedAt, leaseUntil }) => ({
        ...report,
        ageMs: Math.round(report.ageMs + now - reportedAt),
        leaseMs: Math.round(leaseUntil - now),
      }));
  }

  /** Everybody whom the topic shows; `courseId` is the course it belongs to. */
  viewersOf(topic: Topic, courseId: string | null): Present[] {
    const now = performance.now();
    return [...this.#select(topic, courseId)].map((viewer) => toPresent(viewer, now));
  }

  /** How many `viewersOf` would be. */
  count(topic: Topic, courseId: string | null): number {
    const viewers = courseId === null ? undefined : this.#courses.get(courseId);
    if (topic.kind === "course") return viewers?.size ?? 0;
    if (topic.kind === "lesson") return viewers?.byLesson.get(topic.lessonId) ?? 0;
    if (topic.kind === "file") return viewers?.byFile.get(topic.fileId) ?? 0;
    return [...this.#select(topic, courseId)].length;
  }

  /** Null where nobody of this key is there. */
  find(report: PresenceReport): Present | null {
    const viewer = this.#courses.get(report.courseId)?.find(report) ?? null;
    return viewer === null ? null : toPresent(viewer, performance.now());
  }

  *#select(topic: Topic, courseId: string | null): Iterable<Viewer> {
    if (topic.kind === "user") {
      for (const { users } of this.#courses.values()) yield* chainOf(users.get(topic.userId) ?? null);
      return;
    }
    const viewers = courseId === null ? undefined : this.#courses.get(courseId);
    if (viewers === undefined) return;
    if (topic.kind === "learner") yield* chainOf(viewers.users.get(topic.userId) ?? null);
    else if (topic.kind === "course") yield* viewers.all();
    else {
      for (const viewer of viewers.all()) {
        const { lessonId, fileId } = viewer.report;
        if (topic.kind === "lesson" ? lessonId === topic.lessonId : topic.kind === "file" && fileId === topic.fileId)
          yield viewer;
      }
    }
  }

  #open(courseId: string): CourseViewers {
    let viewers = this.#courses.get(courseId);
    if (viewers === undefined) {
      viewers = new CourseViewers();
      this.#courses.set(courseId, viewers);
    }
    return viewers;
  }

  #expire(now: number): void {
    for (const [courseId, viewers] of this.#courses) {
      for (const viewer of viewers.all()) {
        if (viewer.leaseUntil > now) continue;
        viewers.delete(viewer);
        this.#onGone(viewer.report);
      }
      if (viewers.size === 0) this.#courses.delete(courseId);
    }
  }
}

function* chainOf(first: Viewer | null): Iterable<Viewer> {
  for (let viewer = first; viewer !== null; viewer = viewer.next) yield viewer;
}

function tally(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

function toPresent({ report, reportedAt }: Viewer, now: number): Present {
  const { userId, fileId, position, state, rate } = report;
  return { userId, fileId, position, state, rate, ageMs: Math.round(now - reportedAt + report.ageMs) };
}
