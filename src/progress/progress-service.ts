import type { Editor } from "../catalogue/catalogue.ts";
import type { Ack } from "../protocol/ack.ts";
import type { BriefAck } from "../protocol/brief-ack.ts";
import type { Cut, Heartbeat } from "../protocol/heartbeat.ts";
import type {
  FileLearnersPage,
  LearnersPage,
  LearnersQuestion,
  LessonLearnersPage,
  OwnFilesPage,
  OwnFilesQuestion,
  PageQuestion,
} from "../protocol/learners.ts";
import type { CourseProgress, CourseProgressRow, FileProgress } from "../protocol/progress.ts";
import type { BudgetCuts } from "./watch-budget.ts";

/** Who sends a heartbeat. If the player names no session, the connection is the session. */
export interface BeatSource {
  userId: string;
  connectionId: string;
}

/** The whole ack of a durable heartbeat. */
export interface HeartbeatResult {
  progress: FileProgress;
  /** When the server wants the next one, in ms. */
  nextBeatMs: number;
  /** What was cut from the beat, and why; absent where nothing was cut. */
  cut?: Cut[];
}

/** A durable heartbeat, for its sender's ack. */
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

/** Progress that a client of the older REST interface reports about itself. */
export interface LegacyReport {
  fileId: string;
  progressSeconds: number;
  /** 0 to 100. */
  progressPercentage?: number;
  completed?: boolean;
}

export type CompletionSource = "auto" | "manual" | "waived" | "reported";

/** A learner's progress in the shape of the older REST interface. */
export interface LegacyFileProgress {
  userId: string;
  fileId: string;
  progressSeconds: number;
  progressPercentage: number;
  completed: boolean;
  lastWatched: string | null;
}

/** A file, or a whole course. With both, the file must be one of the course. */
export type OperationTarget = { fileId: string; courseId?: string } | { courseId: string };

/**
 * Who operates. An editor needs the right to the course, which is decided by the course as it is under the lock. A name
 * alone is not asked for a right: it is the user whose progress it is.
 */
export type Operator = string | Editor;

/** What a person does on progress. @throws AppError `unknown_file`, `not_found`, `forbidden` */
export interface ProgressOperations {
  /** Zeroes a file, or every file of a course, and raises the epoch. */
  reset(userId: string, target: OperationTarget, by: Operator): Promise<void>;
  /** Completes or un-completes by hand. */
  complete(userId: string, target: OperationTarget, how: { source: "manual" | "waived"; by: Operator }): Promise<void>;
  uncomplete(userId: string, target: OperationTarget, by: Operator): Promise<void>;
}

/** Progress, as sockets and HTTP use it. */
export interface ProgressService extends ProgressOperations {
  /** A player connected: its user's budget counts from now. */
  contact(userId: string): void;
  /** Calls `done` once: after COMMIT, or with an AppError (see `heartbeat`). Never throws. */
  takeHeartbeat(source: BeatSource, beat: Heartbeat, done: HeartbeatDone): void;
  /** Resolves after COMMIT. @throws AppError `bad_request`, `unknown_file`, `overloaded`, `unavailable` */
  heartbeat(source: BeatSource, beat: Heartbeat): Promise<HeartbeatResult>;
  /** Resolves with one answer for each beat, in their order; a bad beat does not refuse the others. Never throws. */
  heartbeats(source: BeatSource, beats: unknown[]): Promise<Ack<HeartbeatResult>[]>;
  /**
   * A file that was never watched reads as zeros, version 0. The answer is never older than `minVersion`, the version that
   * the caller was acked. @throws AppError `unknown_file`
   */
  readFile(userId: string, fileId: string, minVersion?: number): Promise<FileProgress>;
  /** @throws AppError `not_found` */
  readCourse(userId: string, courseId: string, minVersion?: number): Promise<CourseProgress>;
  /** The course's own sums, without lessons and files. @throws AppError `not_found` */
  readCourseRow(userId: string, courseId: string): Promise<CourseProgressRow>;
  /** What this process has cut from the user's beats because they claimed more than the budget allows. */
  cutsOf(userId: string): BudgetCuts;
  /** Nobody for a course that does not exist. @throws AppError `bad_request` if `after` is no cursor of the list */
  learners(courseId: string, question: LearnersQuestion): Promise<LearnersPage>;
  lessonLearners(lessonId: string, page: PageQuestion): Promise<LessonLearnersPage>;
  fileLearners(fileId: string, page: PageQuestion): Promise<FileLearnersPage>;
  /** The files that the user has begun, those watched last first. @throws AppError `bad_request` if `after` is no cursor */
  ownFiles(userId: string, question: OwnFilesQuestion): Promise<OwnFilesPage>;
  /** Takes the progress that a legacy client reports about itself. Resolves after COMMIT. @throws as `heartbeat` */
  report(source: BeatSource, report: LegacyReport): Promise<LegacyFileProgress>;
  readLegacy(userId: string, fileId: string): Promise<LegacyFileProgress>;
}

/** The service where it knows what all processes have cut. */
export type SharedProgressService = Omit<ProgressService, "cutsOf"> & {
  /** `processes`: how many of them told it. */
  cutsOf(userId: string): Promise<BudgetCuts & { processes: number }>;
};
