import type { Present, Topic } from "../../protocol/dashboard.ts";
import type { PresenceReport } from "../bus/bus.ts";
import type { PresenceKind } from "../bus/channels.ts";
import { CourseViewers, type Viewer } from "./course-viewers.ts";

/*
 * Who is there now. Every heartbeat renews a lease; when it ends the viewer is gone, at the last reported position.
 * Presence is never stored, and no position is extrapolated.
 */

export class Presence {
  readonly #courses = new Map<string, CourseViewers>();

  /**
   * Takes a report. `isLocal`: its player is connected to this process.
   * @returns the viewer; null where a newer position is known already
   */
  renew(report: PresenceReport, isLocal: boolean): Viewer | null {
    const now = performance.now();
    const seenAt = now - report.ageMs;
    const leaseUntil = now + report.leaseMs;
    const viewers = this.#courses.get(report.courseId) ?? this.#open(report.courseId);
    const known = viewers.find(report.userId, report.fileId);
    if (known !== null && known.leaseUntil > now && known.seenAt > seenAt)
      return extendLease(known, report, leaseUntil);
    const viewer = known ?? viewers.add(report);
    if (viewer.lessonId !== report.lessonId) viewers.moveToLesson(viewer, report.lessonId);
    viewer.position = report.position;
    viewer.state = report.state;
    viewer.rate = report.rate;
    viewer.seenAt = seenAt;
    viewer.leaseUntil = leaseUntil;
    viewer.isLocal = isLocal;
    return viewer;
  }

  /** Forgets viewers whose lease has ended. @returns these viewers */
  takeExpired(): Viewer[] {
    const now = performance.now();
    const gone: Viewer[] = [];
    for (const [courseId, viewers] of this.#courses) {
      gone.push(...viewers.takeExpired(now));
      if (viewers.size === 0) this.#courses.delete(courseId);
    }
    return gone;
  }

  /** Forgets the viewers of these users. @returns these viewers */
  takeUsers(isForgotten: (userId: string) => boolean): Viewer[] {
    const gone: Viewer[] = [];
    for (const [courseId, viewers] of this.#courses) {
      const theirs = [...viewers.all()].filter(({ userId }) => isForgotten(userId));
      for (const viewer of theirs) viewers.delete(viewer);
      gone.push(...theirs);
      if (viewers.size === 0) this.#courses.delete(courseId);
    }
    return gone;
  }

  /** The viewers of a course or of a user whose players are connected to this process, as another process has to hear it now. */
  localReports(kind: PresenceKind, id: string): PresenceReport[] {
    const now = performance.now();
    return [...(kind === "course" ? this.#ofCourse(id) : this.#ofUser(id))]
      .filter(({ isLocal, leaseUntil }) => isLocal && leaseUntil > now)
      .map(({ isLocal: _here, next: _next, seenAt, leaseUntil, ...rest }) => ({
        ...rest,
        ageMs: Math.round(now - seenAt),
        leaseMs: Math.round(leaseUntil - now),
      }));
  }

  /** Everybody whom the topic shows. `courseId` is the topic's course; null for a user's own topic. */
  viewersOf(topic: Topic, courseId: string | null): Present[] {
    const now = performance.now();
    return [...this.#select(topic, courseId)].map((viewer) => toPresent(viewer, now));
  }

  /** How many viewers `viewersOf` returns. */
  count(topic: Topic, courseId: string | null): number {
    const viewers = courseId === null ? undefined : this.#courses.get(courseId);
    if (topic.kind === "course") return viewers?.size ?? 0;
    if (topic.kind === "lesson") return viewers?.countOfLesson(topic.lessonId) ?? 0;
    if (topic.kind === "file") return viewers?.countOfFile(topic.fileId) ?? 0;
    return [...this.#select(topic, courseId)].length;
  }

  *#select(topic: Topic, courseId: string | null): Iterable<Viewer> {
    if (topic.kind === "user") yield* this.#ofUser(topic.userId);
    if (courseId === null) return;
    if (topic.kind === "course") yield* this.#ofCourse(courseId);
    else if (topic.kind === "learner") yield* this.#courses.get(courseId)?.ofUser(topic.userId) ?? [];
    else if (topic.kind === "lesson" || topic.kind === "file") {
      for (const viewer of this.#ofCourse(courseId)) {
        if (topic.kind === "lesson" ? viewer.lessonId === topic.lessonId : viewer.fileId === topic.fileId) yield viewer;
      }
    }
  }

  #ofCourse(courseId: string): Iterable<Viewer> {
    return this.#courses.get(courseId)?.all() ?? [];
  }

  *#ofUser(userId: string): Iterable<Viewer> {
    for (const viewers of this.#courses.values()) yield* viewers.ofUser(userId);
  }

  #open(courseId: string): CourseViewers {
    const viewers = new CourseViewers();
    this.#courses.set(courseId, viewers);
    return viewers;
  }
}

/**
 * A player that is paused or stalls repeats the position where it stopped, and the network may make it look a little older
 * than before: it is still there. An older report with another position comes from another device, and may not keep this
 * one alive.
 */
function extendLease(known: Viewer, { position, state, rate }: PresenceReport, leaseUntil: number): Viewer | null {
  if (known.position !== position || known.state !== state) return null;
  known.rate = rate;
  known.leaseUntil = Math.max(known.leaseUntil, leaseUntil);
  return known;
}

/** A viewer as dashboards see it at this moment, by the monotonic clock. */
export function toPresent({ userId, fileId, position, state, rate, seenAt }: Viewer, now: number): Present {
  return { userId, fileId, position, state, rate, ageMs: Math.round(now - seenAt) };
}
