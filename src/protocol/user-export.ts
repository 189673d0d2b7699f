import { z } from "zod";
import { ROLES } from "./roles.ts";

/*
 * Everything that is stored of a user, as one document. Lists are flat, so that a long one goes out in parts. Times are ISO
 * 8601 in UTC, with microseconds; lengths are in seconds.
 */

const Instant = z.string();
const OptionalInstant = Instant.nullable();
const OptionalId = z.string().nullable();

/** A lesson's or a course's sums. */
const Sums = {
  title: z.string(),
  percentage: z.number(),
  totalFiles: z.number(),
  startedFiles: z.number(),
  completedFiles: z.number(),
  totalSeconds: z.number(),
  watchedSeconds: z.number(),
  firstAt: Instant,
  lastUpdated: Instant,
  version: z.number(),
};

const Activity = {
  at: Instant,
  /** `started`, `resumed`, `completed`, `reset`, `manual`, `waived` or `uncompleted`. */
  type: z.string(),
  courseId: OptionalId,
  lessonId: OptionalId,
  fileId: OptionalId,
};

export const UserExport = z.object({
  userId: z.string(),
  exportedAt: Instant,
  /** Null if nobody has written anything of the user that needs it, and the user has no account. */
  account: z
    .object({
      username: z.string().nullable(),
      email: z.string().nullable(),
      firstName: z.string().nullable(),
      lastName: z.string().nullable(),
      role: z.enum(ROLES),
      /** A password's hash is stored; it is in no export. */
      hasPassword: z.boolean(),
      createdAt: Instant,
    })
    .nullable(),
  /** The name that a backend has put, or a token has carried. */
  profile: z.object({ name: z.string(), source: z.enum(["profile", "claim"]), updatedAt: Instant }).nullable(),
  /** If the user was deleted before and came back: when. */
  deletion: z.object({ deletedAt: Instant, returnedAt: OptionalInstant }).nullable(),
  courses: z.array(z.object({ courseId: z.string(), ...Sums })),
  lessons: z.array(z.object({ courseId: z.string(), lessonId: z.string(), ...Sums })),
  files: z.array(
    z.object({
      courseId: z.string(),
      lessonId: z.string(),
      fileId: z.string(),
      title: z.string(),
      position: z.number(),
      duration: z.number().nullable(),
      watched: z.array(z.tuple([z.number(), z.number()])),
      watchedSeconds: z.number(),
      watchTimeSeconds: z.number(),
      percentage: z.number(),
      /** What a legacy client has reported about itself. */
      reportedPercentage: z.number(),
      completed: z.boolean(),
      completionSource: z.string().nullable(),
      firstAt: Instant,
      lastWatched: OptionalInstant,
      lastBeatAt: OptionalInstant,
      updatedAt: Instant,
      epoch: z.number(),
      resetAt: OptionalInstant,
      /** The sessions of the player that told the position, and that wrote last, with the numbers of their beats. */
      positionSession: z.string().nullable(),
      positionSeq: z.number().nullable(),
      writerSession: z.string().nullable(),
      writerSeq: z.number().nullable(),
      version: z.number(),
    }),
  ),
  /** Where files begin that have no progress. Without `courseId` a mark is of all courses, without `fileId` of all files. */
  resets: z.array(z.object({ courseId: OptionalId, fileId: OptionalId, epoch: z.number(), resetAt: Instant })),
  /** What happened to the user's progress. `byAnother`: an instructor or admin did it. */
  activity: z.array(z.object({ ...Activity, secondsSpent: z.number().nullable(), byAnother: z.boolean() })),
  /** What the user did to the progress of others, who are not named. */
  actions: z.array(z.object(Activity)),
  /** Courses whose instructor the user is. */
  teaches: z.array(z.object({ courseId: z.string(), title: z.string() })),
  streams: z.array(
    z.object({
      streamId: z.string(),
      title: z.string(),
      status: z.string(),
      /** The first characters of the key. The key itself is stored nowhere. */
      keyPrefix: z.string(),
      policy: z.string(),
      reconnectSeconds: z.number().nullable(),
      expiresAt: OptionalInstant,
      startedAt: OptionalInstant,
      endedAt: OptionalInstant,
      createdAt: Instant,
      updatedAt: Instant,
    }),
  ),
  /** What webhooks were told of the user, or are about to be told. */
  webhookEvents: z.array(
    z.object({
      eventId: z.string(),
      at: Instant,
      type: z.string(),
      data: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
    }),
  ),
  streamSessions: z.array(
    z.object({
      streamId: z.string(),
      state: z.string(),
      server: z.string(),
      app: z.string().nullable(),
      clientIp: z.string().nullable(),
      protocol: z.string().nullable(),
      claimedAt: Instant,
      startedAt: OptionalInstant,
      endedAt: OptionalInstant,
      endReason: z.string().nullable(),
      connections: z.number(),
      peakViewers: z.number().nullable(),
      meanBitrateKbps: z.number().nullable(),
    }),
  ),
});

export type UserExport = z.infer<typeof UserExport>;
