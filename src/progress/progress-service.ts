import type { Ack } from "../protocol/ack.ts";
import type { BriefAck } from "../protocol/brief-ack.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import type { CourseProgress, CourseProgressRow, FileProgress, ProgressTarget } from "../protocol/progress.ts";

/** Who sends a heartbeat. The connection stands for the session where the player names none. */
export interface BeatSource {
  userId: string;
  connectionId: string;
}

/** The whole ack of a durable heartbeat. */
export interface HeartbeatResult {
  progress: FileProgress;
  /** When the server wants the next one, in ms. */
  nextBeatMs: number;
}

/** A durable heartbeat, for the sender's ack. Ask it at once: the stored row behind it moves on. */
export interface DurableHeartbeat {
  /** The version of the progress. */
  readonly version: number;
  toWhole(): HeartbeatResult;
  /**
   * The ack for a sender that holds the version `held` of the progress; 0 where that is not known.
   * @returns null where only the whole ack tells such a sender everything
   */
  toBrief(held: number): BriefAck | null;
}

/** Gets the durable heartbeat, or null and the error that refused it. */
export type HeartbeatDone = (error: unknown, durable: DurableHeartbeat | null) => void;

/** What a client of the older REST interface says about itself. */
export interface LegacyReport {
  fileId: string;
  progressSeconds: number;
  /** 0 to 100. */
  progressPercentage?: number;
  completed?: boolean;
}

export type CompletionSource = "auto" | "manual" | "waived" | "reported";

/** A learner's progress as the older REST interface reads it. */
export interface LegacyFileProgress {
  userId: string;
  fileId: string;
  progressSeconds: number;
  progressPercentage: number;
  completed: boolean;
  lastWatched: string | null;
}

/** One page of a course's learners, by user id. */
export interface LearnersPage {
  learners: CourseProgressRow[];
  /** The `after` of the next page; absent on the last. */
  next?: string;
}

/** The heart of the server, as sockets and HTTP use it. */
export interface ProgressService {
  /** A player connected: the budget of its watching counts from here. */
  contact(userId: string): void;
  /** `done` is called after COMMIT, once, or with the AppError that says why not; see `heartbeat`. Never throws. */
  takeHeartbeat(source: BeatSource, beat: Heartbeat, done: HeartbeatDone): void;
  /** Resolves after COMMIT. @throws AppError `bad_request`, `unknown_file`, `overloaded`, `unavailable` */
  heartbeat(source: BeatSource, beat: Heartbeat): Promise<HeartbeatResult>;
  /** One answer a beat, in their order; a bad beat is refused by itself. Never throws. */
  heartbeats(source: BeatSource, beats: unknown[]): Promise<Ack<HeartbeatResult>[]>;
  /**
   * A file that was never watched reads as zeros, version 0. Nothing older than `minVersion`, what the caller was acked,
   * is given. @throws AppError `unknown_file`
   */
  readFile(userId: string, fileId: string, minVersion?: number): Promise<FileProgress>;
  /** @throws AppError `not_found` */
  readCourse(userId: string, courseId: string, minVersion?: number): Promise<CourseProgress>;
  /** Course row alone, without lessons and files. @throws AppError `not_found` */
  readCourseRow(userId: string, courseId: string): Promise<CourseProgressRow>;
  learners(courseId: string, page: { limit: number; after?: string }): Promise<LearnersPage>;
  /** Zeroes a file, or every file of a course, and raises the epoch. `by` is who asked. @throws AppError `unknown_file`, `not_found` */
  reset(userId: string, target: ProgressTarget, by: string): Promise<void>;
  /** Completes or un-completes by hand. @throws AppError `unknown_file`, `not_found` */
  complete(userId: string, target: ProgressTarget, how: { source: "manual" | "waived"; by: string }): Promise<void>;
  uncomplete(userId: string, target: ProgressTarget, by: string): Promise<void>;
  /** A legacy client's word about its own row. Resolves after COMMIT. @throws as `heartbeat` */
  report(source: BeatSource, report: LegacyReport): Promise<LegacyFileProgress>;
  readLegacy(userId: string, fileId: string): Promise<LegacyFileProgress>;
}
