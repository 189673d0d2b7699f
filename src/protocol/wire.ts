import type { WireError } from "../errors.ts";

/*
 * The types of what client libraries send and get. The schemas of the same names are beside this file; a test compares
 * the two. Without imports from zod, because the package of the client library brings these types and no zod.
 */

/** The answer to a call: `ok: true` beside the fields of the call, or the error. */
export type Ack<T extends object = object> = ({ ok: true } & T) | { ok: false; error: WireError };

export type PlayerState = "playing" | "seeking" | "paused" | "ended";

/**
 * What an ack says was cut from a heartbeat, and why: `budget`, more was claimed than the user's allowance holds;
 * `fragments`, the row gave up its shortest range; `duration`, it lies past the duration that the catalogue knows.
 */
export type Cut = "budget" | "fragments" | "duration";

/** The message of a player every few seconds: its position, and the ranges that played since the message before. */
export interface Heartbeat {
  fileId: string;
  /** Seconds from the start of the media. */
  position: number;
  /** The ranges that played since the last heartbeat, in seconds. To drag the playhead plays nothing. */
  played?: [from: number, to: number][] | undefined;
  state?: PlayerState | undefined;
  rate?: number | undefined;
  /** How many milliseconds ago the player was at the position; computed anew at every send. */
  ageMs?: number | undefined;
  /** The player's session; if absent, the connection is the session. */
  sessionId?: string | undefined;
  /** Grows with every heartbeat of a session. A repeated heartbeat keeps its number. */
  seq?: number | undefined;
  /** The epoch of the progress that the player builds on. A reset raises it, and beats of a lower epoch are dropped. */
  epoch?: number | undefined;
}

/** Progress of one user in one file, in seconds. */
export interface FileProgress {
  userId: string;
  fileId: string;
  lessonId: string;
  courseId: string;
  /** The last position of the player. */
  position: number;
  /** Where to resume: 0 within the first 5 s and past the end boundary, else two seconds before the position. */
  resumeAt: number;
  /** From the catalogue; null while it is unknown. */
  duration: number | null;
  /** The union of all ranges that really played. */
  watched: [from: number, to: number][];
  watchedSeconds: number;
  /** Time spent, re-watching included. */
  watchTimeSeconds: number;
  /** watched / duration x 100. */
  percentage: number;
  completed: boolean;
  /** When the player was at the position, ISO 8601; null if no player was there yet. */
  lastWatched: string | null;
  epoch: number;
  /** Grows with every change: keep the highest. 0 if there is no progress yet. */
  version: number;
}

/** Progress in a file as the topics of many learners carry it: without the ranges. */
export type FileProgressRow = Omit<FileProgress, "watched">;

export interface LessonProgress {
  userId: string;
  lessonId: string;
  courseId: string;
  totalFiles: number;
  completedFiles: number;
  percentage: number;
  lastUpdated: string | null;
  version: number;
}

/** A learner's progress in a course, without its lessons and files. */
export interface CourseProgressRow {
  userId: string;
  courseId: string;
  totalFiles: number;
  completedFiles: number;
  totalDuration: number;
  watchedDuration: number;
  percentage: number;
  /** When a player of the learner was last seen in the course; null if none was. Changes of the catalogue do not count. */
  lastWatched: string | null;
  /** When this row last changed, also by a change of the catalogue. */
  lastUpdated: string | null;
  version: number;
}

export interface CourseProgress extends CourseProgressRow {
  lessons: LessonProgress[];
  files: FileProgress[];
}

/**
 * The statuses of a stream. The first four follow its sessions; in the last three its key is refused.
 *
 *   ready ──▶ live ⇄ reconnecting ──▶ ended ──▶ live …      expired, revoked, disabled: from every status
 */
export type StreamStatus = "ready" | "live" | "reconnecting" | "ended" | "expired" | "revoked" | "disabled";

/** A stream as everybody may see it. It never contains the key. */
export interface Stream {
  id: string;
  userId: string;
  title: string;
  status: StreamStatus;
  /** The first characters of the key, to tell keys apart. */
  keyPrefix: string;
  /** The media server's latest report; null while nothing is live. */
  bitrateKbps: number | null;
  viewers: number | null;
  /** ISO 8601; null if the key never expires. */
  expiresAt: string | null;
  /** Of the current session, else of the last one. */
  startedAt: string | null;
  endedAt: string | null;
  version: number;
}

/** A player that is present, at the position that it reported last. */
export interface Present {
  userId: string;
  fileId: string;
  position: number;
  state: PlayerState;
  rate: number;
  /** How long ago the position was reported, when the frame was built. */
  ageMs: number;
}

/** A row or a viewer that is gone. A viewer that left has `version` 0, because presence has no versions. */
export type Removed =
  | { kind: "present"; userId: string; fileId: string; version: number }
  | { kind: "progress"; userId: string; fileId: string; version: number }
  | { kind: "lesson"; userId: string; lessonId: string; version: number }
  | { kind: "course"; userId: string; courseId: string; version: number }
  | { kind: "stream"; streamId: string; version: number };

/** The sums over all learners of a course, lesson or file. */
export interface TopicTotals {
  learners: number;
  completed: number;
  /** The mean over the learners who have begun, 0 to 100. */
  percentage: number;
}

/** A frame or a snapshot of a topic: states with versions, never deltas. Keep the highest version per key. */
export interface Update {
  topic: string;
  /**
   * Grows with every frame of a topic on a connection, not always by one. A client orders frames by it. Numbers of two
   * connections say nothing about each other.
   */
  n: number;
  /** ISO 8601, the server's clock. It is for people to read: somebody may set that clock. */
  at: string;
  progress?: (FileProgress | FileProgressRow)[];
  lessons?: LessonProgress[];
  courses?: CourseProgressRow[];
  streams?: Stream[];
  present?: Present[];
  /** How many players are present. */
  viewers?: number;
  removed?: Removed[];
  totals?: TopicTotals;
  /** Set if the frame begins the state anew: forget everything that you hold of the topic. */
  snapshot?: true;
  /** `true`: changes may be missing from now on, and the shown state may be old. `false`: they come again; a snapshot follows. */
  behind?: boolean;
}
