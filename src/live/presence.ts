import type { Present } from "../protocol/dashboard.ts";
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
}

/** Who left: its lease ended. */
export type OnGone = (report: PresenceReport) => void;

const SWEEP_MS = 1000;

export class Presence {
  readonly #courses = new Map<string, Map<string, Viewer>>();
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
    const viewers = this.#courses.get(report.courseId) ?? new Map<string, Viewer>();
    this.#courses.set(report.courseId, viewers);
    const key = keyOf(report);
    const known = viewers.get(key);
    // A process hears its own reports again, by the bus.
    if (known?.report === report) return true;
    if (known !== undefined && known.leaseUntil > now && known.reportedAt - known.report.ageMs > now - report.ageMs) {
      // An older one of another device may not keep alive the device that has left.
      if (known.report.position !== report.position || known.report.state !== report.state) return false;
      known.leaseUntil = Math.max(known.leaseUntil, now + report.leaseMs);
      return true; // other nodes have to hear of it
    }
    viewers.set(key, { report, reportedAt: now, leaseUntil: now + report.leaseMs, isLocal });
    return true;
  }

  /** Who is connected here, as another process has to hear it now. */
  localReports(matches: (report: PresenceReport) => boolean): PresenceReport[] {
    const now = performance.now();
    return [...this.#courses.values()]
      .flatMap((viewers) => [...viewers.values()])
      .filter(({ isLocal, report, leaseUntil }) => isLocal && leaseUntil > now && matches(report))
      .map(({ report, reportedAt, leaseUntil }) => ({
        ...report,
        ageMs: Math.round(report.ageMs + now - reportedAt),
        leaseMs: Math.round(leaseUntil - now),
      }));
  }

  /** Everybody in a course, or in any where it is null, whom the filter lets through. */
  viewersOf(courseId: string | null, matches: (report: PresenceReport) => boolean): Present[] {
    const now = performance.now();
    const present: Present[] = [];
    for (const viewers of this.#viewersIn(courseId)) {
      for (const viewer of viewers.values()) if (matches(viewer.report)) present.push(toPresent(viewer, now));
    }
    return present;
  }

  /** How many `viewersOf` would be. */
  count(courseId: string | null, matches: (report: PresenceReport) => boolean): number {
    let count = 0;
    for (const viewers of this.#viewersIn(courseId)) {
      for (const { report } of viewers.values()) if (matches(report)) count += 1;
    }
    return count;
  }

  #viewersIn(courseId: string | null): Iterable<Map<string, Viewer>> {
    if (courseId === null) return this.#courses.values();
    const viewers = this.#courses.get(courseId);
    return viewers === undefined ? [] : [viewers];
  }

  /** Null where nobody of this key is there. */
  find(report: PresenceReport): Present | null {
    const viewer = this.#courses.get(report.courseId)?.get(keyOf(report));
    return viewer === undefined ? null : toPresent(viewer, performance.now());
  }

  #expire(now: number): void {
    for (const [courseId, viewers] of this.#courses) {
      for (const [key, viewer] of viewers) {
        if (viewer.leaseUntil > now) continue;
        viewers.delete(key);
        this.#onGone(viewer.report);
      }
      if (viewers.size === 0) this.#courses.delete(courseId);
    }
  }
}

function keyOf(report: PresenceReport): string {
  return `${report.userId}\u0000${report.fileId}`;
}

function toPresent({ report, reportedAt }: Viewer, now: number): Present {
  const { userId, fileId, position, state, rate } = report;
  return { userId, fileId, position, state, rate, ageMs: Math.round(now - reportedAt + report.ageMs) };
}
